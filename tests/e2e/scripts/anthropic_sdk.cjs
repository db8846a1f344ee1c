// Drives npm's `@anthropic-ai/sdk`; prints as JSON what it understood. Arguments: base URL.
const Anthropic = require("@anthropic-ai/sdk").default;

const client = new Anthropic({ baseURL: process.argv[2], apiKey: "none", maxRetries: 0 });
const messages = [{ role: "user", content: "What are you?" }];
const asked = { model: "demo", messages, max_tokens: 24, temperature: 0 };

async function main() {
  const whole = await client.messages.create(asked);
  const streamed = await client.messages.stream(asked).finalMessage();
  return {
    text: whole.content[0].text,
    streamed: streamed.content[0].text,
    reason: streamed.stop_reason,
    counted: (await client.messages.countTokens({ model: "demo", messages })).input_tokens,
  };
}

main().then((result) => console.log(JSON.stringify(result)));
