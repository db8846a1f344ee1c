// Drives Vercel's AI SDK over an OpenAI-compatible provider; prints as JSON what it understood. Arguments: base URL.
const { generateText, streamText } = require("ai");
const { createOpenAICompatible } = require("@ai-sdk/openai-compatible");

async function main() {
  const local = createOpenAICompatible({ name: "local", baseURL: process.argv[2], apiKey: "none" });
  const asked = { model: local("demo"), prompt: "What are you?", maxOutputTokens: 24, temperature: 0, maxRetries: 0 };
  const whole = await generateText(asked);
  const answer = streamText(asked);
  let streamed = "";
  for await (const piece of answer.textStream) streamed += piece;
  return { text: whole.text, streamed, reason: await answer.finishReason, tokens: whole.usage.totalTokens };
}

main().then((got) => console.log(JSON.stringify(got)));
