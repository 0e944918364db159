// Calls of the npm package `openai`: `openai_calls.mjs URL MODEL IMAGE`. Prints what came back, as JSON.
import { readFileSync } from "node:fs";
import OpenAI from "openai";

const [url, model, image] = process.argv.slice(2);
const uri = `data:image/webp;base64,${readFileSync(image).toString("base64")}`;
const messages = [
  { role: "user", content: [{ type: "text", text: "Is this real?" }, { type: "image_url", image_url: { url: uri } }] },
];
const input = [{ role: "user", content: [{ type: "input_image", image_url: uri, detail: "auto" }] }];
const schema = {
  type: "object",
  properties: { verdict: { type: "string" }, score: { type: "number" } },
  required: ["verdict", "score"],
  additionalProperties: false,
};
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 });

const found = {};
const completion = await client.chat.completions.create({ model, messages, logprobs: true, top_logprobs: 2 });
found.completion = completion.choices[0].message.content;
found.usage = completion.usage.completion_tokens;
found.finish = completion.choices[0].finish_reason;
found.logprobs = completion.choices[0].logprobs.content.length;
found.verdict = completion.fakescan.verdict;

found.stream = "";
const pieces = await client.chat.completions.create({
  model, messages, stream: true, stream_options: { include_usage: true },
});
for await (const piece of pieces) {
  found.stream += piece.choices[0]?.delta?.content ?? "";
  found.streamUsage = piece.usage?.completion_tokens ?? found.streamUsage;
}
const helper = client.chat.completions.stream({ model, messages });
found.helper = (await helper.finalChatCompletion()).choices[0].message.content;

const format = { type: "json_schema", json_schema: { name: "finding", strict: true, schema } };
const parsed = await client.chat.completions.parse({ model, messages, response_format: format });
found.schema = parsed.choices[0].message.parsed ?? JSON.parse(parsed.choices[0].message.content);

const response = await client.responses.create({ model, input });
found.responses = response.output_text;
const events = client.responses.stream({ model, input });
found.responsesStream = (await events.finalResponse()).output_text;

found.models = [];
for await (const one of client.models.list()) found.models.push(one.id);
try {
  await client.chat.completions.create({ model, messages, tool_choice: "required", tools: [] });
} catch (error) {
  found.tools = [error.constructor.name, error.status, error.param];
}
console.log(JSON.stringify(found));
