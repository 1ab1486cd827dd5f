// What TensorFlow.js answers from a model in a folder: a question as JSON on standard input, the answer on standard output.
// Files are read by a handler of our own, because TensorFlow.js reads from disk only with its native addition for node.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const question = JSON.parse(readFileSync(0, "utf8"));
const require = createRequire(join(question.packages, "any.js"));
console.warn = console.log = console.info = () => {};
const tf = require("@tensorflow/tfjs-core");
require("@tensorflow/tfjs-backend-cpu");
const layers = require("@tensorflow/tfjs-layers");
const converter = require("@tensorflow/tfjs-converter");

// without the bundle of everything, tensors lack the methods that some layers call on them
for (const [name, call] of Object.entries(tf)) {
  if (typeof call === "function" && !(name in tf.Tensor.prototype)) {
    tf.Tensor.prototype[name] = function (...rest) { return call(this, ...rest); };
  }
}
tf.Tensor.prototype.flatten = function () { return tf.reshape(this, [-1]); };

const said = JSON.parse(readFileSync(join(question.folder, "model.json"), "utf8"));
const isGraph = said.format === "graph-model" || (said.modelTopology && said.modelTopology.node !== undefined);

function weights() {
  const specs = [];
  const parts = [];
  for (const group of said.weightsManifest) {
    specs.push(...group.weights);
    for (const path of group.paths) parts.push(readFileSync(join(question.folder, path)));
  }
  const joined = Buffer.concat(parts);
  return { specs, data: joined.buffer.slice(joined.byteOffset, joined.byteOffset + joined.byteLength) };
}

const handler = {
  load: async () => {
    const { specs, data } = weights();
    return { ...said, weightSpecs: specs, weightData: data };
  },
};

const arrays = { float32: Float32Array, int32: Int32Array, bool: Uint8Array };

function tensor(given) {
  const bytes = Buffer.from(given.data, "base64");
  const buffer = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
  return tf.tensor(new arrays[given.dtype](buffer), given.shape, given.dtype);
}

async function plain(made) {
  const values = await made.data();
  const dtype = made.dtype;
  const data = Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString("base64");
  return { dtype, shape: made.shape, data };
}

function node(name) {
  const colon = name.lastIndexOf(":");
  return colon > 0 && /^\d+$/.test(name.slice(colon + 1)) ? name.slice(0, colon) : name;
}

async function byGraph(model, piece) {
  const ends = model.modelSignature || said.signature || {};
  const inputs = {};
  for (const [name, given] of Object.entries(piece)) {
    const place = ends.inputs && ends.inputs[name] ? node(ends.inputs[name].name) : name;
    inputs[place] = tensor(given);
  }
  const places = question.outputs.map((name) => (ends.outputs && ends.outputs[name] ? ends.outputs[name].name : name));
  const found = await model.executeAsync(inputs, places.map((name) => name.replace(/:0$/, "")));
  return Array.isArray(found) ? found : [found];
}

function byLayers(model, piece) {
  const names = Object.keys(piece);
  const given = model.inputs.map((one, place) => tensor(piece[one.name] || piece[names[place]]));
  const found = model.predict(given.length === 1 ? given[0] : given);
  return Array.isArray(found) ? found : [found];
}

await tf.setBackend("cpu");
const model = isGraph ? await converter.loadGraphModel(handler) : await layers.loadLayersModel(handler);
const answers = [];
for (const piece of question.pieces) {
  const found = isGraph ? await byGraph(model, piece) : byLayers(model, piece);
  const answer = {};
  for (let place = 0; place < found.length; place++) answer[question.outputs[place]] = await plain(found[place]);
  answers.push(answer);
}
process.stdout.write(JSON.stringify(answers));
