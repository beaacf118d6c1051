// A client of Node's ws package (Debian: node-ws): node interop.js URL; reads nothing, prints "right".
"use strict";
const WebSocket = require("ws");

const sizes = [0, 1, 125, 126, 65535, 65536, 300000];
const messages = sizes.map((size) => "ä".repeat(Math.floor(size / 2)) + "x".repeat(size % 2));
const client = new WebSocket(process.argv[2], { perMessageDeflate: process.argv[3] === "deflate" });
let next = 0;

client.on("open", () => messages.forEach((message) => client.send(message)));
client.on("message", (data) => {
    if (data.toString() !== messages[next]) {
        throw new Error("message " + next);
    }
    next += 1;
    if (next === messages.length) {
        client.close(1000);
    }
});
client.on("close", (code) => {
    if (code !== 1000 || next !== messages.length) {
        throw new Error("closed with " + code + " after " + next);
    }
    console.log("right", client.extensions);
});
