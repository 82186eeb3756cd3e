import { connect } from "node:net";

/** Whether somebody listens on a port of 127.0.0.1. @param {number} port @returns {Promise<boolean>} */
export function canConnect(port) {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
