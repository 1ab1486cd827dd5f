// Layers models that TensorFlow.js itself builds and saves, each in a folder with inputs and its answers to them.
//
//     node tfjs_models.mjs PACKAGES FOLDER

import { mkdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const [, , packages, folder] = process.argv;
const require = createRequire(join(packages, "any.js"));
console.warn = console.log = () => {};
const tf = require("@tensorflow/tfjs-core");
require("@tensorflow/tfjs-backend-cpu");
const layers = require("@tensorflow/tfjs-layers");
// without the bundle of everything, tensors lack the methods that some layers call on them
for (const [name, call] of Object.entries(tf)) {
  if (typeof call === "function" && !(name in tf.Tensor.prototype)) {
    tf.Tensor.prototype[name] = function (...rest) { return call(this, ...rest); };
  }
}
tf.Tensor.prototype.flatten = function () { return tf.reshape(this, [-1]); };
const L = layers.layers;
const born = { kernelInitializer: "glorotUniform", biasInitializer: layers.initializers.randomNormal({ seed: 3 }) };

function pictures() {
  return layers.sequential({
    layers: [
      L.conv2d({ inputShape: [8, 8, 3], filters: 4, kernelSize: 3, padding: "same", activation: "relu", ...born }),
      L.batchNormalization({}),
      L.maxPooling2d({ poolSize: 2 }),
      L.separableConv2d({ filters: 5, kernelSize: 3 }),
      L.flatten(),
      L.dropout({ rate: 0.2 }),
      L.dense({ units: 3, activation: "softmax", ...born }),
    ],
  });
}

function series() {
  const x = layers.input({ shape: [6, 4], name: "series" });
  const y = L.bidirectional({ layer: L.lstm({ units: 3, returnSequences: true }), mergeMode: "concat" }).apply(x);
  const z = L.gru({ units: 4, recurrentActivation: "sigmoid" }).apply(y);
  return layers.model({ inputs: x, outputs: L.dense({ units: 2, ...born }).apply(z) });
}

function joined() {
  const left = layers.input({ shape: [4], name: "left" });
  const right = layers.input({ shape: [3], name: "right" });
  const inner = layers.sequential({ layers: [L.dense({ inputShape: [4], units: 5, activation: "elu", ...born })] });
  const both = L.concatenate().apply([inner.apply(left), L.dense({ units: 5, activation: "tanh" }).apply(right)]);
  return layers.model({ inputs: [left, right], outputs: [L.dense({ units: 1 }).apply(both), L.leakyReLU().apply(both)] });
}

const numbers = async (made) => ({ shape: made.shape, data: Array.from(await made.data()) });

await tf.setBackend("cpu");
for (const [name, make] of Object.entries({ pictures, series, joined })) {
  const model = make();
  const place = join(folder, name);
  mkdirSync(place, { recursive: true });
  await model.save(
    tf.io.withSaveHandler(async (found) => {
      const { weightData, weightSpecs, ...said } = found;
      const bytes = Buffer.from(weightData instanceof ArrayBuffer ? weightData : Buffer.concat(weightData.map((b) => Buffer.from(b))));
      writeFileSync(join(place, "group1-shard1of1.bin"), bytes);
      const weightsManifest = [{ paths: ["group1-shard1of1.bin"], weights: weightSpecs }];
      writeFileSync(join(place, "model.json"), JSON.stringify({ ...said, weightsManifest }));
      return { modelArtifactsInfo: { dateSaved: new Date(), modelTopologyType: "JSON" } };
    }),
  );
  const inputs = model.inputs.map((one, at) => tf.randomNormal([5, ...one.shape.slice(1)], 0, 1, "float32", 7 + at));
  const found = model.predict(inputs.length === 1 ? inputs[0] : inputs);
  const outputs = Array.isArray(found) ? found : [found];
  const answers = { inputs: {}, outputs: [] };
  for (let at = 0; at < inputs.length; at++) answers.inputs[model.inputNames[at]] = await numbers(inputs[at]);
  for (const one of outputs) answers.outputs.push(await numbers(one));
  writeFileSync(join(folder, `${name}.json`), JSON.stringify(answers));
}
