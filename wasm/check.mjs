// Judges objects inside WebAssembly and compares each report, byte for byte, with the one that the native program gave.
// Usage: node check.mjs MODULE.wasm BPFASSAY OBJECT...
import { readFileSync, mkdtempSync, copyFileSync, rmSync } from "node:fs";
import { spawnSync } from "node:child_process";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const [module, native, ...objects] = process.argv.slice(2);
const { instance } = await WebAssembly.instantiate(readFileSync(module), {});
const { memory, reserve, judge } = instance.exports;
const folder = mkdtempSync(join(tmpdir(), "judge-"));
let differ = 0;
for (const object of objects) {
  const bytes = readFileSync(object);
  const at = reserve(bytes.length);
  new Uint8Array(memory.buffer, at, bytes.length).set(bytes);
  const out = judge();
  const length = new DataView(memory.buffer).getUint32(out, true);
  const inside = Buffer.from(memory.buffer, out + 4, length).toString();
  copyFileSync(object, join(folder, "prog.o"));
  const outside = spawnSync(resolve(native), ["check", "--format", "json", "prog.o"], { cwd: folder }).stdout.toString();
  // The time taken is the one field that may differ: WebAssembly has no clock.
  const timeless = outside.replace(/"verification_us": \d+/g, '"verification_us": 0');
  if (inside !== timeless) {
    console.log(`${object}: the reports differ`);
    differ++;
  }
}
rmSync(folder, { recursive: true });
console.log(`${objects.length} objects judged inside WebAssembly, ${differ} reports differ`);
process.exit(differ === 0 && objects.length > 0 ? 0 : 1);
