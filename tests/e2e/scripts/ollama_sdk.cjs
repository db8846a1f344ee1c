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
    unknown: await unknown(),
  };
}

main().then((result) => console.log(JSON.stringify(result)));
