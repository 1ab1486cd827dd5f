// TensorFlow.js' side of the comparison of formats: the same words and answers as _format_side.py, under node.
// Called as `node --expose-gc _format_side.mjs PACKAGES FILE`. The two handlers do what those of TensorFlow's addition for
// node do (tfjs-node/src/io/file_system.ts, release 4.22), which is not needed for anything else here.

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";

const [packages, first] = process.argv.slice(2);
const require = createRequire(join(packages, "any.js"));
console.warn = console.info = () => {};
const tf = require("@tensorflow/tfjs-core");
require("@tensorflow/tfjs-backend-cpu");
const converter = require("@tensorflow/tfjs-converter");

const PAGE = 4096;

function reader(folder) {
  return {
    load: async () => {
      const said = JSON.parse(readFileSync(join(folder, "model.json"), "utf8"));
      const specs = [];
      const parts = [];
      for (const group of said.weightsManifest) {
        specs.push(...group.weights);
        for (const path of group.paths) parts.push(readFileSync(join(folder, path)));
      }
      const whole = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
      let at = 0;
      for (const part of parts) at += part.copy(whole, at);
      const { weightsManifest, ...artifacts } = said;
      return { ...artifacts, weightSpecs: specs, weightData: whole.buffer };
    },
  };
}

function writer(folder) {
  return {
    save: async ({ weightSpecs, weightData, ...artifacts }) => {
      mkdirSync(folder, { recursive: true });
      const weightsManifest = [{ paths: ["weights.bin"], weights: weightSpecs }];
      const whole = Array.isArray(weightData) ? Buffer.concat(weightData.map(Buffer.from)) : Buffer.from(weightData);
      writeFileSync(join(folder, "weights.bin"), whole);
      writeFileSync(join(folder, "model.json"), JSON.stringify({ ...artifacts, weightsManifest }));
      return { modelArtifactsInfo: { dateSaved: new Date(0), modelTopologyType: "JSON" } };
    },
  };
}

function touched(model) {
  let sum = 0;
  for (const tensor of Object.values(model.weights).flat()) {
    const values = tensor.dataSync();
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    for (let at = 0; at < bytes.length; at += PAGE) sum += bytes[at];
  }
  return sum;
}

function memory(line) {
  const row = readFileSync("/proc/self/status", "utf8").split("\n").find((one) => one.startsWith(line));
  return Number(row.split(/\s+/)[1]) * 1024;
}

await tf.setBackend("cpu");
const held = await converter.loadGraphModel(reader(first));
touched(held);
process.stdout.write("ready\n");
for await (const line of createInterface({ input: process.stdin })) {
  const [word, ...rest] = line.split(" ");
  const path = rest.join(" ");
  globalThis.gc();
  writeFileSync("/proc/self/clear_refs", "5"); // the highest is from now on
  const before = memory("VmRSS");
  const cpu = process.cpuUsage();
  const wall = performance.now();
  if (word === "read") {
    const model = await converter.loadGraphModel(reader(path));
    touched(model);
    model.dispose();
  } else {
    await held.save(writer(path));
  }
  const taken = (performance.now() - wall) / 1e3;
  const used = process.cpuUsage(cpu);
  process.stdout.write(JSON.stringify([taken, (used.user + used.system) / 1e6, memory("VmHWM") - before]) + "\n");
}
