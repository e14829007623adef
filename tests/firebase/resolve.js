// Prints what `firebase deploy` would ask Google for: the pinned tools' own reading of the staged folder.
// Arguments: the tools' folder, the staged folder, the parameters' file, the project.
const fs = require("fs");
const path = require("path");

const [tools, staged, parameters, projectId] = process.argv.slice(2);
const lib = (name) => require(path.join(tools, "lib", name));

async function main() {
  const discovered = await lib("deploy/functions/runtimes/discovery").detectFromYaml(staged, projectId, "python311");
  const { envs } = lib("functions/env").parse(fs.readFileSync(parameters, "utf8"));
  const { backend } = await lib("deploy/functions/build").resolveBackend({
    build: discovered,
    firebaseConfig: { projectId },
    userEnvs: envs,
    codebase: "libra",
    nonInteractive: true,
    isEmulator: false,
  });
  const { functionFromEndpoint } = lib("gcp/cloudfunctionsv2");
  const { jobFromEndpoint } = lib("gcp/cloudscheduler");
  const asked = { functions: {}, jobs: {} };
  for (const endpoint of lib("deploy/functions/backend").allEndpoints(backend)) {
    asked.functions[endpoint.id] = functionFromEndpoint(endpoint);
    if (endpoint.scheduleTrigger) {
      const deployed = { ...endpoint, uri: "https://recompute.run.app" };
      asked.jobs[endpoint.id] = await jobFromEndpoint(deployed, endpoint.region, "1234567890");
    }
  }
  process.stdout.write(JSON.stringify(asked));
}

main();
