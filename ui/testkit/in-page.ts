/**
 * connect-web for a test to drive: bundled, put into a page of the browser, and called there as `connectWeb.ask(...)`.
 * Requests and replies are protobuf's JSON, which passes between the page and the test.
 */
import { fromJson, toJson, type DescMessage, type DescMethodUnary, type JsonValue } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";

import { QueryService } from "../src/gen/parca/query/v1alpha1/query_pb";
import { ScrapeService } from "../src/gen/parca/scrape/v1alpha1/scrape_pb";

export interface Answer {
  readonly reply?: JsonValue;
  /** Of an error: the code's name, and the words behind it. */
  readonly code?: string;
  readonly message?: string;
}

const METHODS: Readonly<Record<string, DescMethodUnary>> = { ...QueryService.method, ...ScrapeService.method };

/** Calls `method` of the server whose services are found below `baseUrl`. */
async function ask(baseUrl: string, method: string, request: JsonValue): Promise<Answer> {
  const found = METHODS[method];
  if (!found) throw new Error(`no method ${method}`);
  const transport = createGrpcWebTransport({ baseUrl });
  try {
    const input = fromJson(found.input as DescMessage, request);
    const { message } = await transport.unary(found, undefined, 30_000, undefined, input);
    return { reply: toJson(found.output as DescMessage, message) };
  } catch (error) {
    const { code, rawMessage } = ConnectError.from(error);
    return { code: Code[code], message: rawMessage };
  }
}

declare global {
  var connectWeb: { readonly ask: typeof ask };
}

globalThis.connectWeb = { ask };
