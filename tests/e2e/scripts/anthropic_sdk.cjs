// Drives npm's `@anthropic-ai/sdk`; prints as JSON what it understood. Arguments: base URL.
const Anthropic = require("@anthropic-ai/sdk").default;

const client = new Anthropic({ baseURL: process.argv[2], apiKey: "none", maxRetries: 0 });
const messages = [{ role: "user", content: "What are you?" }];
const asked = { model: "demo", messages, max_tokens: 24, temperature: 0 };

async function called() {
  const input_schema = {
    type: "object",
    properties: { city: { type: "string", enum: ["Paris", "Rome"] } },
    required: ["city"],
    additionalProperties: false,
  };
  const forced = { ...asked, max_tokens: 64, tools: [{ name: "get_weather", input_schema }], tool_choice: { type: "any" } };
  const whole = await client.messages.create(forced);
  const streamed = await client.messages.stream(forced).finalMessage();
  const result = { type: "tool_result", tool_use_id: whole.content.at(-1).id, content: "sunny" };
  const after = await client.messages.create({
    ...asked,
    messages: [...messages, { role: "assistant", content: whole.content }, { role: "user", content: [result] }],
  });
  return { reason: whole.stop_reason, call: whole.content.at(-1).input, streamed: streamed.content.at(-1).input, after: after.role };
}

async function refused() {
  try {
    await client.messages.create({ ...asked, max_tokens: undefined });
  } catch (error) {
    return { status: error.status, type: error.error.error.type, message: error.error.error.message };
  }
  return {};
}

async function main() {
  const whole = await client.messages.create(asked);
  const streamed = await client.messages.stream(asked).finalMessage();
  return {
    text: whole.content[0].text,
    streamed: streamed.content[0].text,
    reason: streamed.stop_reason,
    called: await called(),
    refused: await refused(),
    counted: (await client.messages.countTokens({ model: "demo", messages })).input_tokens,
  };
}

main().then((result) => console.log(JSON.stringify(result)));
