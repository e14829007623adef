// Build the board into build/board, which firebase.json names as what Hosting serves.
// Scripts and styles carry a hash in their names, so that a browser may keep them for ever.
import { build } from "esbuild";
import { copyFile, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const board = dirname(fileURLToPath(import.meta.url));
const built = join(board, "..", "build", "board");
const sources = ["src/main.ts", "src/style.css"];

await rm(built, { recursive: true, force: true });
await mkdir(built, { recursive: true });
const { metafile } = await build({
  absWorkingDir: board,
  entryPoints: sources,
  outdir: join(built, "assets"),
  entryNames: "[name]-[hash]",
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  metafile: true,
  logLevel: "warning",
  define: { DATABASE: JSON.stringify(process.env.FIRESTORE_DATABASE || "(default)") },
});
let page = await readFile(join(board, "index.html"), "utf8");
for (const [file, { entryPoint }] of Object.entries(metafile.outputs)) {
  if (entryPoint) page = page.replace(entryPoint, `assets/${basename(file)}`);
}
const forgotten = sources.filter((source) => page.includes(source));
if (forgotten.length) throw new Error(`index.html still names ${forgotten}: was it renamed?`);
await copyFile(join(board, "icon.svg"), join(built, "icon.svg"));
await writeFile(join(built, "index.html"), page);
