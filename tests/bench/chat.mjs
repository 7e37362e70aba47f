// node chat.mjs COUNT: the body of a chat import of so many messages, one in ten of them a vote.
const count = Number(process.argv[2]);
const start = Date.now() - count * 100;
const message = (i) => ({
  username: `viewer${i % 997}`,
  message: i % 10 === 0 ? 'thisgame++ what a round' : `message number ${i}, as long as people write in a chat`,
  timestamp: new Date(start + i * 100).toISOString(),
});
process.stdout.write(JSON.stringify({ chatData: Array.from({ length: count }, (_, i) => message(i)) }));
