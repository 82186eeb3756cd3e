import { decodeText } from "./payload.ts";

/** What hosts say to each other on the topic of a name. */
export interface ClaimMessage {
  /**
   * `claim`: may the sender run under this name? `reclaim`: so asks one that did before its connection was lost.
   * `held`: no, in answer to either.
   */
  word: "claim" | "reclaim" | "held";
  /** The random id of who asks. */
  id: string;
}

const LONGEST = 80;
const MESSAGE = /^(claim|reclaim|held) ([A-Za-z0-9-]{1,64})$/;

export function formatClaim({ word, id }: ClaimMessage): string {
  return `${word} ${id}`;
}

/** `undefined` where the payload is none of ours. */
export function parseClaim(payload: Uint8Array): ClaimMessage | undefined {
  if (payload.length > LONGEST) return undefined;
  const [, word, id] = MESSAGE.exec(decodeText(payload) ?? "") ?? [];
  return word === undefined || id === undefined ? undefined : { word: word as ClaimMessage["word"], id };
}
