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

const schema = {
  type: "object",
  properties: { city: { type: "string", enum: ["Paris", "Rome"] } },
  required: ["city"],
  additionalProperties: false,
};

async function called() {
  const tools = [{ type: "function", function: { name: "get_weather", parameters: schema, strict: true } }];
  const forced = { ...asked, max_tokens: 64, tools, tool_choice: "required" };
  const choice = (await client.chat.completions.create(forced)).choices[0];
  const streamed = await client.chat.completions.stream(forced).finalChatCompletion();
  const [call] = choice.message.tool_calls;
  const after = await client.chat.completions.create({
    ...asked,
    messages: [...messages, choice.message, { role: "tool", tool_call_id: call.id, content: "sunny" }],
  });
  return {
    reason: choice.finish_reason,
    call: JSON.parse(call.function.arguments),
    streamed: JSON.parse(streamed.choices[0].message.tool_calls[0].function.arguments),
    after: after.choices[0].message.role,
  };
}

async function structured() {
  const response_format = { type: "json_schema", json_schema: { name: "place", schema, strict: true } };
  const parsed = await client.chat.completions.parse({ ...asked, max_tokens: 64, response_format });
  const stream = client.responses.stream({ model: "demo", input: "What are you?", temperature: 0 });
  return { place: parsed.choices[0].message.parsed, response: (await stream.finalResponse()).output_text };
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
    called: await called(),
    structured: await structured(),
    embedding: (await client.embeddings.create({ model: "demo", input: "a" })).data[0].embedding.length,
    refused: await refused(),
  };
}

main().then((result) => console.log(JSON.stringify(result)));
