#!/usr/bin/env bash
# One command to production: ./deploy.sh stage|plan|up|status|env|down. ./deploy.sh --help says more.
#
# `up` may be run again at any time: each step looks first and changes only what differs. A step that fails
# stops everything, with its name and what to do; run `up` again afterwards.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

TRIGGER=libra-on-created
RECOMPUTE=libra-recompute
JOB=libra-recompute
TRIES=${LIBRA_TRIES:-10}             # for grants and accounts that Google's own services do not see yet
SECONDS_BETWEEN=${LIBRA_SECONDS_BETWEEN:-30}
export CLOUDSDK_CORE_DISABLE_PROMPTS=1

SERVICES=(
  artifactregistry.googleapis.com
  cloudbuild.googleapis.com
  cloudfunctions.googleapis.com
  cloudscheduler.googleapis.com
  eventarc.googleapis.com
  firebaserules.googleapis.com
  firestore.googleapis.com
  iam.googleapis.com
  pubsub.googleapis.com
  run.googleapis.com
)

say() { printf '%s\n' "$*" >&2; }

die() {
  say "deploy.sh: $*"
  exit 1
}

# A command as it can be pasted into a shell.
printed() {
  local word line=''
  for word in "$@"; do
    if [[ $word =~ ^[A-Za-z0-9_@%+=:,./-]+$ ]]; then
      line+=" $word"
    else
      line+=" '${word//\'/\'\\\'\'}'"
    fi
  done
  printf '%s\n' "${line:1}"
}

# step NAME WHAT ROLES: what the commands that follow are for, and which roles they need.
step() {
  STEP=$2
  NEEDS=$3
  if [[ $COMMAND == plan ]]; then
    printf '\n# %s: %s\n' "$1" "$STEP"
  else
    say "== $STEP"
  fi
}

chosen() { [[ $ONLY == *" $1 "* ]]; }

# failed COMMAND...: says which step failed, with the command, Google's words and what to do; then ends.
failed() {
  say "deploy.sh: the step \"$STEP\" failed."
  say "  command: $(printed "$@")"
  sed 's/^/  /' "$ERRORS" >&2
  case $(<"$ERRORS") in
    *illing*) say "  do: link a billing account: gcloud billing projects link $GOOGLE_CLOUD_PROJECT --billing-account=ID" ;;
    *"active account"* | *"auth login"* | *UNAUTHENTICATED*) say "  do: gcloud auth login" ;;
    *SERVICE_DISABLED* | *"not enabled"* | *"has not been used"*) say "  do: ./deploy.sh up, which enables the services, and allow a minute" ;;
    *PERMISSION_DENIED* | *ermission*) say "  do: have someone grant you $NEEDS on $GOOGLE_CLOUD_PROJECT" ;;
    *ocation* | *egion*) say "  do: check --region $LIBRA_REGION, --location $LIBRA_LOCATION and --scheduler-region $LIBRA_SCHEDULER_REGION" ;;
    *) say "  do: put it right and run the same command again; what is done stays done" ;;
  esac
  exit 1
}

# run COMMAND...: a change. `plan` prints it.
run() {
  if [[ $COMMAND == plan ]]; then
    printed "$@"
    return
  fi
  say "   $(printed "$@")"
  "$@" >"$OUTPUT" 2>"$ERRORS" || failed "$@"
}

# patiently COMMAND...: a change that rests on one before it, which Google takes a while to know or to end: a
# new account, a grant, an operation on the same field.
patiently() {
  local try
  if [[ $COMMAND != plan ]]; then
    for ((try = 1; try < TRIES; try++)); do
      say "   $(printed "$@")"
      if "$@" >"$OUTPUT" 2>"$ERRORS"; then return; fi
      grep -Eqi 'service agent|does not exist|not been granted|few minutes|try again later|in progress|ABORTED' "$ERRORS" || failed "$@"
      say "   not known everywhere yet; once more in $SECONDS_BETWEEN s ($try of $TRIES)"
      sleep "$SECONDS_BETWEEN"
    done
  fi
  run "$@"
}

# look VARIABLE COMMAND...: a read. What is not there is the empty string. `plan` assumes an empty project.
look() {
  local variable=$1
  shift
  printf -v "$variable" '%s' ''
  if [[ $COMMAND == plan ]]; then return; fi
  if "$@" >"$OUTPUT" 2>"$ERRORS"; then
    printf -v "$variable" '%s' "$(<"$OUTPUT")"
  elif ! grep -Eqi 'NOT_FOUND|status=\[404\]|not found|could not be found|SERVICE_DISABLED|has not been used' "$ERRORS"; then
    failed "$@"
  fi
}

account() { printf '%s@%s.iam.gserviceaccount.com' "$1" "$GOOGLE_CLOUD_PROJECT"; }

digest() { "$PYTHON" -c 'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest()[:40])'; }

# has_line TEXT LINE
has_line() { grep -Fxq -- "$2" <<<"$1"; }

preflight() {
  local told token
  step preflight "Look at the project and at what you may do" "roles/viewer"
  if [[ $COMMAND == plan ]]; then
    printf '# reads only: the project, its billing, your permissions\n'
    return
  fi
  look told gcloud projects describe "$GOOGLE_CLOUD_PROJECT" --format='value(lifecycleState)'
  [[ $told == ACTIVE ]] || die "--project $GOOGLE_CLOUD_PROJECT: there is no such active project, or you may not see it"
  look token gcloud auth print-access-token
  if ! told=$(LIBRA_TOKEN=$token "$PYTHON" -m deploy.google permissions "$GOOGLE_CLOUD_PROJECT" 2>"$ERRORS"); then
    failed "$PYTHON" -m deploy.google permissions "$GOOGLE_CLOUD_PROJECT"
  fi
  [[ -z $told ]] || die "you lack permissions on $GOOGLE_CLOUD_PROJECT; nothing was changed. Missing:
$told"
  # The billing API may be off or hidden from the caller; enabling the services tells the truth then.
  if told=$(gcloud billing projects describe "$GOOGLE_CLOUD_PROJECT" --format='value(billingEnabled)' 2>"$ERRORS"); then
    [[ $told == True ]] || die "$GOOGLE_CLOUD_PROJECT has no billing account, which functions need; nothing was changed.
  do: gcloud billing projects link $GOOGLE_CLOUD_PROJECT --billing-account=ID"
  fi
}

services() {
  local enabled service missing=()
  step services "Enable the services" "roles/serviceusage.serviceUsageAdmin"
  [[ -z $LIBRA_SECRETS ]] || SERVICES+=(secretmanager.googleapis.com)
  look enabled gcloud services list --enabled --project="$GOOGLE_CLOUD_PROJECT" --format='value(config.name)'
  for service in "${SERVICES[@]}"; do
    has_line "$enabled" "$service" || missing+=("$service")
  done
  if ((${#missing[@]})); then
    run gcloud services enable "${missing[@]}" --project="$GOOGLE_CLOUD_PROJECT"
  fi
  region_exists
}

region_exists() {
  local regions
  look regions gcloud run regions list --project="$GOOGLE_CLOUD_PROJECT" --format='value(locationId)'
  [[ -z $regions ]] || has_line "$regions" "$LIBRA_REGION" ||
    die "--region $LIBRA_REGION: there is no such region; there are $(tr '\n' ' ' <<<"$regions")"
}

database() {
  local found location kind recovery at
  at=(--database="$FIRESTORE_DATABASE" --project="$GOOGLE_CLOUD_PROJECT")
  step database "Create the database if there is none" "roles/datastore.owner"
  look found gcloud firestore databases describe "${at[@]}" --format='value(locationId,type,pointInTimeRecoveryEnablement)'
  if [[ -z $found ]]; then
    run gcloud firestore databases create "${at[@]}" --location="$LIBRA_LOCATION" --type=firestore-native --delete-protection
    recovery=POINT_IN_TIME_RECOVERY_DISABLED
  else
    IFS=$'\t' read -r location kind recovery <<<"$found"
    [[ $kind == FIRESTORE_NATIVE ]] ||
      die "the database $FIRESTORE_DATABASE is of type $kind; Libra needs a Firestore in native mode: name another with --database"
    [[ $location == "$LIBRA_LOCATION" ]] ||
      die "the database $FIRESTORE_DATABASE is in $location, not in $LIBRA_LOCATION: pass --location $location and a --region in it"
  fi
  case $LIBRA_PITR in
    on) [[ $recovery == POINT_IN_TIME_RECOVERY_ENABLED ]] || run gcloud firestore databases update "${at[@]}" --enable-pitr ;;
    off) [[ $recovery != POINT_IN_TIME_RECOVERY_ENABLED ]] || run gcloud firestore databases update "${at[@]}" --no-enable-pitr ;;
  esac
}

# The accounts, each with as little as it can do its work with: what the functions run as, what delivers
# events, what calls the recompute, what builds. Firebase has no accounts of their own for the middle two.
name_accounts() {
  RUNTIME=libra-runtime
  BUILDER=libra-build
  DELIVERER=libra-trigger
  CALLER=libra-scheduler
  ACCOUNTS=("$RUNTIME" "$BUILDER" "$DELIVERER" "$CALLER")
  if [[ -n $FOR_FIREBASE ]]; then
    DELIVERER=$RUNTIME CALLER=$RUNTIME ACCOUNTS=("$RUNTIME" "$BUILDER")
  fi
  ROLES=(
    "$RUNTIME:roles/datastore.user"
    "$DELIVERER:roles/eventarc.eventReceiver"
    "$BUILDER:roles/cloudbuild.builds.builder"
  )
}

accounts() {
  local name email found policy grant
  step accounts "Create the service accounts and grant their roles" \
    "roles/iam.serviceAccountAdmin and roles/resourcemanager.projectIamAdmin"
  for name in "${ACCOUNTS[@]}"; do
    email=$(account "$name")
    look found gcloud iam service-accounts describe "$email" --project="$GOOGLE_CLOUD_PROJECT" --format='value(email)'
    [[ -n $found ]] ||
      run gcloud iam service-accounts create "$name" --display-name="Libra: ${name#libra-}" --project="$GOOGLE_CLOUD_PROJECT"
  done
  look policy gcloud projects get-iam-policy "$GOOGLE_CLOUD_PROJECT" --flatten='bindings[].members' \
    --format='value(bindings.role,bindings.members)'
  for grant in "${ROLES[@]}"; do
    grant_project "$policy" "${grant#*:}" "serviceAccount:$(account "${grant%%:*}")"
  done
  secrets
}

grant_project() {
  if ! has_line "$1" "$2"$'\t'"$3"; then
    patiently gcloud projects add-iam-policy-binding "$GOOGLE_CLOUD_PROJECT" --member="$3" --role="$2" --condition=None
  fi
}

secrets() {
  local entry secret policy member
  member="serviceAccount:$(account "$RUNTIME")"
  for entry in ${LIBRA_SECRETS//,/ }; do
    secret=${entry#*=}
    secret=${secret%:*}
    look policy gcloud secrets get-iam-policy "$secret" --project="$GOOGLE_CLOUD_PROJECT" \
      --flatten='bindings[].members' --format='value(bindings.role,bindings.members)'
    has_line "$policy" "roles/secretmanager.secretAccessor"$'\t'"$member" ||
      run gcloud secrets add-iam-policy-binding "$secret" --project="$GOOGLE_CLOUD_PROJECT" \
        --member="$member" --role=roles/secretmanager.secretAccessor
  done
}

indexes() {
  local composites='' exempt='' expiring='' missing kind collection fields field at
  at=(--database="$FIRESTORE_DATABASE" --project="$GOOGLE_CLOUD_PROJECT")
  step indexes "Declare the index, the exemptions and the time-to-live policy" "roles/datastore.owner"
  look composites gcloud firestore indexes composite list "${at[@]}" --format=json
  look exempt gcloud firestore indexes fields list "${at[@]}" --format=json
  look expiring gcloud firestore fields ttls list "${at[@]}" --format=json
  missing=$("$PYTHON" -m deploy.indexes "$composites" "$exempt" "$expiring")
  while read -r kind collection fields; do
    case $kind in
      composite)
        local configs=()
        for field in $fields; do configs+=(--field-config="field-path=${field%:*},order=${field#*:}"); done
        run gcloud firestore indexes composite create "${at[@]}" --collection-group="$collection" \
          --query-scope=collection "${configs[@]}" --async
        ;;
      exempt) patiently gcloud firestore indexes fields update "$fields" "${at[@]}" --collection-group="$collection" --disable-indexes --async ;;
      ttl) patiently gcloud firestore fields ttls update "$fields" "${at[@]}" --collection-group="$collection" --enable-ttl --async ;;
    esac
  done <<<"$missing"
}

rules() {
  local token told
  step rules "Put the security rules in force ($LIBRA_RULES)" "roles/firebaserules.admin"
  if [[ $LIBRA_RULES == keep ]]; then return; fi
  if [[ $COMMAND == plan ]]; then
    printed "$PYTHON" -m deploy.google rules "$GOOGLE_CLOUD_PROJECT" "$FIRESTORE_DATABASE" "$LIBRA_RULES"
    return
  fi
  look token gcloud auth print-access-token
  told=$(LIBRA_TOKEN=$token "$PYTHON" -m deploy.google rules "$GOOGLE_CLOUD_PROJECT" "$FIRESTORE_DATABASE" "$LIBRA_RULES" 2>"$ERRORS") ||
    failed "$PYTHON" -m deploy.google rules "$GOOGLE_CLOUD_PROJECT" "$FIRESTORE_DATABASE" "$LIBRA_RULES"
  say "   $told"
}

# deploy_function NAME LAG FLAGS...: unless it is there, healthy, and of these sources and flags.
deploy_function() {
  local name=$1 lag=$2 environment config found
  shift 2
  environment=${RUNTIME_ENVIRONMENT/LIBRA_LAG_SECONDS=$LIBRA_LAG_SECONDS/LIBRA_LAG_SECONDS=$lag}
  local flags=(
    --gen2 --project="$GOOGLE_CLOUD_PROJECT" --region="$LIBRA_REGION"
    --runtime=python311 --source=build/functions
    --service-account="$(account "$RUNTIME")"
    --build-service-account="projects/$GOOGLE_CLOUD_PROJECT/serviceAccounts/$(account "$BUILDER")"
    --cpu="$LIBRA_CPU" --ingress-settings=internal-only --no-allow-unauthenticated
    "$@"
  )
  if [[ -n $LIBRA_SECRETS ]]; then flags+=(--set-secrets="$LIBRA_SECRETS"); else flags+=(--clear-secrets); fi
  flags+=(--set-env-vars="^@@^${environment}@@THREADS=$THREADS")
  config=$(printf '%s\n' "$FINGERPRINT" "${flags[@]}" | digest)
  look found gcloud functions describe "$name" --gen2 --region="$LIBRA_REGION" --project="$GOOGLE_CLOUD_PROJECT" \
    --format='value(state,labels.libra-config)'
  if [[ $found == "ACTIVE"$'\t'"$config" && -z $FORCE ]]; then
    say "   $name is up to date"
    return
  fi
  patiently gcloud functions deploy "$name" "${flags[@]}" --update-labels="libra-config=$config"
}

deploy_trigger() {
  step functions "Deploy the trigger $TRIGGER (a few minutes)" "roles/cloudfunctions.admin and roles/iam.serviceAccountUser"
  deploy_function "$TRIGGER" "$1" --entry-point=on_libra_created \
    --trigger-location="$LIBRA_LOCATION" \
    --trigger-event-filters="type=google.cloud.firestore.document.v1.created,database=$FIRESTORE_DATABASE,namespace=(default)" \
    --trigger-event-filters-path-pattern="document=libra/{entryId}" \
    --trigger-service-account="$(account "$DELIVERER")" \
    --retry --concurrency="$THREADS" --memory="$LIBRA_MEMORY" --timeout=120s \
    --min-instances="$LIBRA_MIN_INSTANCES" --max-instances="$LIBRA_MAX_INSTANCES"
}

deploy_recompute() {
  step functions "Deploy the recompute $RECOMPUTE (a few minutes)" "roles/cloudfunctions.admin and roles/iam.serviceAccountUser"
  deploy_function "$RECOMPUTE" "$1" --entry-point=recompute --trigger-http \
    --concurrency=1 --memory="$LIBRA_RECOMPUTE_MEMORY" --timeout=3600s --min-instances=0 --max-instances=1
}

# deploy/lag.py says in which order a change of the LAG is safe.
functions() {
  local now_trigger now_recompute lags trigger_lag recompute_lag format
  [[ $COMMAND == plan ]] || step functions "Look at what is deployed" "roles/cloudfunctions.viewer"
  format='value[separator=" "](serviceConfig.environmentVariables.LIBRA_LAG_SECONDS,updateTime)'
  look now_trigger gcloud functions describe "$TRIGGER" --gen2 --region="$LIBRA_REGION" --project="$GOOGLE_CLOUD_PROJECT" --format="$format"
  look now_recompute gcloud functions describe "$RECOMPUTE" --gen2 --region="$LIBRA_REGION" --project="$GOOGLE_CLOUD_PROJECT" --format="$format"
  lags=$("$PYTHON" -m deploy.lag "$LIBRA_LAG_SECONDS" "$now_trigger" "$now_recompute")
  { read -r trigger_lag; read -r recompute_lag; read -r PENDING || true; } <<<"$lags"
  deploy_recompute "$recompute_lag"
  deploy_trigger "$trigger_lag"
}

# invoker SERVICE ACCOUNT
invoker() {
  local policy member
  member="serviceAccount:$(account "$2")"
  look policy gcloud run services get-iam-policy "$1" --region="$LIBRA_REGION" --project="$GOOGLE_CLOUD_PROJECT" \
    --flatten='bindings[].members' --format='value(bindings.role,bindings.members)'
  has_line "$policy" "roles/run.invoker"$'\t'"$member" ||
    patiently gcloud run services add-iam-policy-binding "$1" --region="$LIBRA_REGION" --project="$GOOGLE_CLOUD_PROJECT" \
      --member="$member" --role=roles/run.invoker
}

invokers() {
  step invokers "Let events call the trigger, and the schedule the recompute, and nobody else" "roles/run.admin"
  invoker "$TRIGGER" "$DELIVERER"
  invoker "$RECOMPUTE" "$CALLER"
}

schedule() {
  local url found wanted verb header
  step schedule "Schedule the recompute: $LIBRA_SCHEDULE, $LIBRA_TIME_ZONE" "roles/cloudscheduler.admin and roles/iam.serviceAccountUser"
  look url gcloud functions describe "$RECOMPUTE" --gen2 --region="$LIBRA_REGION" --project="$GOOGLE_CLOUD_PROJECT" --format='value(serviceConfig.uri)'
  if [[ $COMMAND == plan ]]; then
    url=https://THE-URL-OF-$RECOMPUTE.run.app
  elif [[ -z $url ]]; then
    die "the recompute $RECOMPUTE is not deployed in $LIBRA_REGION: run ./deploy.sh up without --only"
  fi
  wanted="$LIBRA_SCHEDULE|$LIBRA_TIME_ZONE|$url/|POST|$(account "$CALLER")|$url|1800s|3|300s|3600s|2"
  look found gcloud scheduler jobs describe "$JOB" --location="$LIBRA_SCHEDULER_REGION" --project="$GOOGLE_CLOUD_PROJECT" \
    --format='value[separator="|"](schedule,timeZone,httpTarget.uri,httpTarget.httpMethod,httpTarget.oidcToken.serviceAccountEmail,httpTarget.oidcToken.audience,attemptDeadline,retryConfig.retryCount,retryConfig.minBackoffDuration,retryConfig.maxBackoffDuration,retryConfig.maxDoublings)'
  if [[ $found == "$wanted" ]]; then
    say "   $JOB is up to date"
    return
  fi
  verb=create header=--headers
  if [[ -n $found ]]; then verb=update header=--update-headers; fi
  run gcloud scheduler jobs "$verb" http "$JOB" --location="$LIBRA_SCHEDULER_REGION" --project="$GOOGLE_CLOUD_PROJECT" \
    --schedule="$LIBRA_SCHEDULE" --time-zone="$LIBRA_TIME_ZONE" --uri="$url/" --http-method=POST \
    "$header=Content-Type=application/json" --message-body='{}' \
    --oidc-service-account-email="$(account "$CALLER")" --oidc-token-audience="$url" \
    --attempt-deadline=1800s --max-retry-attempts=3 --min-backoff=300s --max-backoff=3600s --max-doublings=2
}

backup() {
  local found
  if [[ $LIBRA_BACKUP == keep ]]; then return; fi
  step backup "Back the database up every day" "roles/datastore.owner"
  look found gcloud firestore backups schedules list --database="$FIRESTORE_DATABASE" --project="$GOOGLE_CLOUD_PROJECT" \
    --filter='dailyRecurrence:*' --format='value(name)'
  [[ -n $found ]] ||
    run gcloud firestore backups schedules create --database="$FIRESTORE_DATABASE" --project="$GOOGLE_CLOUD_PROJECT" \
      --recurrence=daily --retention="$LIBRA_BACKUP_RETENTION"
}

up() {
  local name
  if [[ $COMMAND == up ]]; then
    "$PYTHON" -m deploy.stage
  else
    printf '# Every command that ./deploy.sh up may run on an empty project; on another, only what differs.\n'
    printf '\n# stage: Build build/functions from functions/ and shared/, and import every entry point\n'
    printed "$PYTHON" -m deploy.stage
  fi
  FINGERPRINT=$("$PYTHON" -m deploy.stage --fingerprint)
  preflight
  for name in services database accounts indexes rules functions invokers schedule backup; do
    if chosen "$name"; then "$name"; fi
  done
  if [[ $COMMAND == up ]]; then summary; fi
}

summary() {
  cat <<END

Libra is deployed in $GOOGLE_CLOUD_PROJECT: $TRIGGER and $RECOMPUTE in $LIBRA_REGION, the schedule
"$LIBRA_SCHEDULE" ($LIBRA_TIME_ZONE), the database $FIRESTORE_DATABASE in $LIBRA_LOCATION.
${PENDING:+
NOT YET DONE: $PENDING
}
See it:
  ./deploy.sh status --project=$GOOGLE_CLOUD_PROJECT --region=$LIBRA_REGION
  eval "\$(./deploy.sh env --project=$GOOGLE_CLOUD_PROJECT --region=$LIBRA_REGION)"; libra status
                                                  the totals' health; libra verify proves it
  gcloud scheduler jobs run $JOB --location=$LIBRA_SCHEDULER_REGION --project=$GOOGLE_CLOUD_PROJECT
                                                  a recompute now
  gcloud functions logs read $TRIGGER --gen2 --region=$LIBRA_REGION --project=$GOOGLE_CLOUD_PROJECT

When idle it costs at most 0.10 USD a month for the schedule (three are free for each billing account) and
cents for the stored image and source; with --min-instances above 0, each instance kept warm costs more.
docs/operations.md works the costs out.
END
}

status() {
  local name region=(--region="$LIBRA_REGION" --project="$GOOGLE_CLOUD_PROJECT") out
  local at=(--database="$FIRESTORE_DATABASE" --project="$GOOGLE_CLOUD_PROJECT")
  step status "Look at what is deployed" "roles/viewer"
  for name in "$TRIGGER" "$RECOMPUTE"; do
    look out gcloud functions describe "$name" --gen2 "${region[@]}" \
      --format='value[separator="  "](state,updateTime,eventTrigger.retryPolicy,serviceConfig.maxInstanceRequestConcurrency,serviceConfig.revision)'
    printf '%-18s %s\n' "$name" "${out:-not deployed}"
  done
  look out gcloud scheduler jobs describe "$JOB" --location="$LIBRA_SCHEDULER_REGION" --project="$GOOGLE_CLOUD_PROJECT" \
    --format='value[separator="  "](state,schedule,timeZone,lastAttemptTime,status.code)'
  printf '%-18s %s\n' schedule "${out:-not there}"
  look out gcloud firestore databases describe "${at[@]}" \
    --format='value[separator="  "](locationId,type,pointInTimeRecoveryEnablement,deleteProtectionState)'
  printf '%-18s %s\n' database "${out:-not there}"
  look out gcloud firestore indexes composite list "${at[@]}" --filter='name~collectionGroups/libra/' --format='value(state)'
  printf '%-18s %s\n' index "${out:-not there}"
  look out gcloud firestore fields ttls list "${at[@]}" --format='value(ttlConfig.state)'
  printf '%-18s %s\n' time-to-live "${out:-not there}"
}

# The settings of what is deployed, for a shell.
environment() {
  local found
  step env "Look at the settings of $RECOMPUTE" "roles/cloudfunctions.viewer"
  look found gcloud functions describe "$RECOMPUTE" --gen2 --region="$LIBRA_REGION" --project="$GOOGLE_CLOUD_PROJECT" \
    --format='json(serviceConfig.environmentVariables)'
  [[ -n $found ]] || die "the recompute $RECOMPUTE is not deployed in $LIBRA_REGION of $GOOGLE_CLOUD_PROJECT"
  "$PYTHON" -m deploy.exports <<<"$found"
}

down() {
  local name email found policy grant region=(--region="$LIBRA_REGION" --project="$GOOGLE_CLOUD_PROJECT")
  step down "Remove the schedule" "roles/cloudscheduler.admin"
  look found gcloud scheduler jobs describe "$JOB" --location="$LIBRA_SCHEDULER_REGION" --project="$GOOGLE_CLOUD_PROJECT" --format='value(name)'
  [[ -z $found ]] || run gcloud scheduler jobs delete "$JOB" --location="$LIBRA_SCHEDULER_REGION" --project="$GOOGLE_CLOUD_PROJECT"
  step down "Remove the functions" "roles/cloudfunctions.admin"
  for name in "$TRIGGER" "$RECOMPUTE"; do
    look found gcloud functions describe "$name" --gen2 "${region[@]}" --format='value(name)'
    [[ -z $found ]] || run gcloud functions delete "$name" --gen2 "${region[@]}"
  done
  step down "Remove the service accounts and their roles" "roles/iam.serviceAccountAdmin and roles/resourcemanager.projectIamAdmin"
  look policy gcloud projects get-iam-policy "$GOOGLE_CLOUD_PROJECT" --flatten='bindings[].members' \
    --format='value(bindings.role,bindings.members)'
  for grant in "${ROLES[@]}"; do
    email=$(account "${grant%%:*}")
    if has_line "$policy" "${grant#*:}"$'\t'"serviceAccount:$email"; then
      run gcloud projects remove-iam-policy-binding "$GOOGLE_CLOUD_PROJECT" --member="serviceAccount:$email" \
        --role="${grant#*:}" --condition=None
    fi
  done
  for name in "${ACCOUNTS[@]}"; do
    email=$(account "$name")
    look found gcloud iam service-accounts describe "$email" --project="$GOOGLE_CLOUD_PROJECT" --format='value(email)'
    [[ -z $found ]] || run gcloud iam service-accounts delete "$email" --project="$GOOGLE_CLOUD_PROJECT"
  done
  if [[ -n $DELETE_INDEXES ]]; then delete_indexes; fi
  if [[ -n $DELETE_DATABASE ]]; then delete_database; fi
  say "Libra is no longer deployed in $GOOGLE_CLOUD_PROJECT. Services stay enabled."
  [[ -n $DELETE_DATABASE ]] || say "The database $FIRESTORE_DATABASE, its data, rules and settings are as they were."
}

delete_indexes() {
  local composites id exempt kind collection fields at=(--database="$FIRESTORE_DATABASE" --project="$GOOGLE_CLOUD_PROJECT")
  step down "Remove the index, the exemptions and the time-to-live policy" "roles/datastore.owner"
  look composites gcloud firestore indexes composite list "${at[@]}" --format=json
  for id in $("$PYTHON" -m deploy.indexes --ids "$composites"); do
    run gcloud firestore indexes composite delete "$id" "${at[@]}"
  done
  look exempt gcloud firestore indexes fields list "${at[@]}" --format=json
  while read -r kind collection fields; do
    if [[ $kind == composite || $exempt != *"/collectionGroups/$collection/fields/$fields\""* ]]; then continue; fi
    case $kind in
      ttl) patiently gcloud firestore fields ttls update "$fields" "${at[@]}" --collection-group="$collection" --disable-ttl --async ;;
      exempt) patiently gcloud firestore indexes fields update "$fields" "${at[@]}" --collection-group="$collection" --clear-exemption --async ;;
    esac
  done < <("$PYTHON" -m deploy.indexes)
}

delete_database() {
  step down "DELETE the database $DELETE_DATABASE and all of its data" "roles/datastore.owner"
  run gcloud firestore databases update --database="$DELETE_DATABASE" --project="$GOOGLE_CLOUD_PROJECT" --no-delete-protection
  run gcloud firestore databases delete --database="$DELETE_DATABASE" --project="$GOOGLE_CLOUD_PROJECT"
}

find_python() {
  for PYTHON in ${PYTHON:-} python3.11 python3.12 python3.13 python3; do
    if "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then return; fi
  done
  die "no Python 3.11 or newer here: install one, or name one as PYTHON=/path/to/python3.11"
}

main() {
  local assignments
  find_python
  assignments=$("$PYTHON" -m deploy.parameters "$@") || exit
  [[ -n $assignments ]] || exit 0 # --help has been printed
  set -a
  eval "$assignments"
  set +a
  PENDING=''
  name_accounts
  SCRATCH=$(mktemp -d)
  ERRORS=$SCRATCH/errors OUTPUT=$SCRATCH/output
  trap 'rm -rf "$SCRATCH"' EXIT
  if [[ $COMMAND != stage && $COMMAND != plan ]]; then
    command -v gcloud >/dev/null || die "gcloud is not installed: https://cloud.google.com/sdk/docs/install"
  fi
  case $COMMAND in
    stage) "$PYTHON" -m deploy.stage ;;
    up | plan) up ;;
    status) status ;;
    env) environment ;;
    down) down ;;
  esac
}

main "$@"
