// A service that tells a customer about each order, with the AWS SDK for JavaScript.
import { createServer } from "node:http";
import { EventBridgeClient, PutPartnerEventsCommand } from "@aws-sdk/client-eventbridge";

const SOURCE = "aws.partner/shop.example.test/acme";
const events = new EventBridgeClient({}); // all settings come from the environment

async function tell(detail) {
  const entry = { Source: SOURCE, DetailType: "order.placed", Detail: detail, Time: new Date() };
  const answer = await events.send(new PutPartnerEventsCommand({ Entries: [entry] }));
  return answer.Entries[0];
}

const server = createServer(async (request, response) => {
  let body = "";
  for await (const chunk of request) body += chunk;
  try {
    const result = await tell(body);
    response.writeHead(result.EventId ? 202 : 502).end(JSON.stringify(result));
  } catch (error) {
    response.writeHead(502).end(JSON.stringify({ error: error.name }));
  }
});
server.listen(Number(process.env.PORT ?? 8000), () => console.log(`port ${server.address().port}`));
process.on("SIGTERM", () => server.close(() => process.exit(0)));
