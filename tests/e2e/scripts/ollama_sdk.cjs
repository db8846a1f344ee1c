// Drives npm's `ollama`; prints as JSON what it understood. Arguments: host.
const { Ollama } = require("ollama");

const client = new Ollama({ host: process.argv[2] });
const asked = { model: "demo", messages: [{ role: "user", content: "What are you?" }], options: { temperature: 0, num_predict: 24 } };

async function unknown() {
  try {
    await client.show({ model: "nobody" });
  } catch (error) {
    return { status: error.status_code, error: error.message };
  }
  return {};
}

async function called() {
  const parameters = { type: "object", properties: { path: { type: "string" } }, required: ["path"] };
  const tools = [{ type: "function", function: { name: "read_file", description: "Read a file.", parameters } }];
  const options = { temperature: 0, num_predict: 64 };
  const messages = [{ role: "user", content: "Read main.py" }];
  return (await client.chat({ model: "demo", messages, tools, options })).message.tool_calls;
}

async function structured() {
  const format = { type: "object", properties: { yes: { type: "boolean" } }, required: ["yes"] };
  return JSON.parse((await client.chat({ ...asked, format })).message.content);
}

async function main() {
  const pieces = [];
  for await (const piece of await client.chat({ ...asked, stream: true })) pieces.push(piece);
  return {
    models: (await client.list()).models.map((model) => model.model),
    capabilities: (await client.show({ model: "demo" })).capabilities,
    chat: (await client.chat(asked)).message.content,
    streamed: pieces.map((piece) => piece.message.content).join(""),
    done: pieces.map((piece) => piece.done),
    generated: (await client.generate({ model: "demo", prompt: "Hi", options: asked.options })).response,
    called: await called(),
    structured: await structured(),
    embedded: (await client.embed({ model: "demo", input: ["a", "b"] })).embeddings.length,
    unknown: await unknown(),
  };
}

main().then((result) => console.log(JSON.stringify(result)));
