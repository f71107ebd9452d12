// The AWS SDK for JavaScript v3, as its users write it:
//
//     node sender.mjs text-500 IN_FLIGHT
//
// Speaks the protocol of benchmarks/senders.py: reads a number of events from each line of its
// input, sends so many, and answers with a line of JSON. The plain events of a case are in a file
// in the directory that BENCHMARK_EVENTS names.

import { EventBridgeClient, PutPartnerEventsCommand } from "@aws-sdk/client-eventbridge";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

const BATCH = 20;
const [case_, inFlight] = [process.argv[2], Number(process.argv[3])];
const text = readFileSync(`${process.env.BENCHMARK_EVENTS}/${case_}.json`, "utf8");
// With its own settings: it keeps connections, at most 50 of them.
const client = new EventBridgeClient({ region: "us-east-1" });

// Parsed anew each time: no string is known from the last round.
function plainEvents(count) {
  const pool = JSON.parse(text);
  return Array.from({ length: count }, (_, number) => pool[number % pool.length]);
}

function* batches(values) {
  for (let start = 0; start < values.length; start += BATCH) {
    yield values.slice(start, start + BATCH).map(([source, detailType, detail]) => ({
      Source: source,
      DetailType: detailType,
      Detail: typeof detail === "string" ? detail : JSON.stringify(detail),
    }));
  }
}

async function send(values) {
  const results = [];
  const waiting = batches(values);
  async function worker() {
    for (const Entries of waiting) {
      const answer = await client.send(new PutPartnerEventsCommand({ Entries }));
      results.push(...answer.Entries);
    }
  }
  await Promise.all(Array.from({ length: inFlight }, worker));
  return results.filter((result) => result.ErrorCode === undefined).length;
}

for await (const line of createInterface({ input: process.stdin })) {
  const values = plainEvents(Number(line));
  const [started, before] = [performance.now(), process.cpuUsage()];
  const accepted = await send(values);
  const wall = (performance.now() - started) / 1e3;
  const { user, system } = process.cpuUsage(before);
  const memory = process.resourceUsage().maxRSS * 1024;
  console.log(JSON.stringify({ cpu: (user + system) / 1e6, wall, accepted, memory }));
}
