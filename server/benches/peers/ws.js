// A WebSocket server that sends each message to all clients.
const { WebSocketServer } = require('ws');

const server = new WebSocketServer({ port: 0, host: '127.0.0.1', perMessageDeflate: false }, () => {
  console.log(`http://127.0.0.1:${server.address().port}`);
});
server.on('connection', (socket) => {
  socket.on('message', (said) => {
    for (const member of server.clients) member.send(said, { binary: false });
  });
});
