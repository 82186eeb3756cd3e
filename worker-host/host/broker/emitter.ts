import mqemitter from "mqemitter";

/**
 * Hands each message to its subscribers, and waits for none of them: a subscriber that doesn't read holds up neither the
 * other subscribers nor the publisher. `SlowClients` bounds what is
 * kept for it, and slows down a publisher that floods it.
 *
 * It numbers messages in the order in which they are handed out. aedes numbers them as they come in, and takes one with a
 * lower number than the last for a duplicate of it; but a retained one, or one at QoS 1, is handed out later than a
 * plain one that came after it, and so was lost (github.com/moscajs/aedes issues 955 and 994).
 */
export function createEmitter(): ReturnType<typeof mqemitter> {
  // mqemitter counts a message as under way until its slowest subscriber has taken it; 0 sets no limit to these.
  const emitter = mqemitter({ concurrency: 0, matchEmptyLevels: true });
  const emit = emitter.emit.bind(emitter);
  let count = 0;
  emitter.emit = (message, callback) => {
    message.brokerCounter = ++count;
    emit(message);
    // aedes writes to the subscribers in a setImmediate of its own, and so before it reads on from the publisher.
    if (callback) setImmediate(callback);
    return emitter;
  };
  return emitter;
}
