// Drives npm's `openai`; prints as JSON what it understood. Arguments: base URL.
const OpenAI = require("openai").default;

const client = new OpenAI({ baseURL: process.argv[2], apiKey: "sk-none", maxRetries: 0 });
const messages = [{ role: "user", content: "What are you?" }];
const asked = { model: "demo", messages, temperature: 0, max_tokens: 24 };

async function streamed() {
  const chunks = [];
  const stream = await client.chat.completions.create({ ...asked, stream: true, stream_options: { include_usage: true } });
  for await (const chunk of stream) chunks.push(chunk);
  return {
    text: chunks.flatMap((chunk) => chunk.choices).map((choice) => choice.delta.content ?? "").join(""),
    total_tokens: chunks.at(-1).usage.total_tokens,
  };
}

async function refused() {
  try {
    await client.completions.create({ model: "demo", prompt: "word ".repeat(100000), max_tokens: 1 });
  } catch (error) {
    return { status: error.status, code: error.code, message: error.message };
  }
  return {};
}

async function main() {
  const chat = await client.chat.completions.create(asked);
  const text = await client.completions.create({ model: "demo", prompt: "import ", max_tokens: 8, temperature: 0 });
  const models = [];
  for await (const model of client.models.list()) models.push(model.id);
  return {
    models,
    chat: { text: chat.choices[0].message.content, total_tokens: chat.usage.total_tokens },
    streamed: await streamed(),
    text: text.choices[0].text,
    refused: await refused(),
  };
}

main().then((result) => console.log(JSON.stringify(result)));
