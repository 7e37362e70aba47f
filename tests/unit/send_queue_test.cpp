#include "relay/send_queue.hpp"

#include <memory>
#include <string>

#include <boost/test/unit_test.hpp>
#include <malloc.h>
#include <sys/socket.h>
#include <unistd.h>

#include "relay/frame.hpp"

namespace gamepicker {
namespace {

FramePtr text_frame(const std::string& text) {
  auto frame = std::make_shared<Frame>();
  frame->bytes = text;
  return frame;
}

/// Two ends, the sending one with the smallest buffer the kernel gives.
struct Pair {
  Pair() {
    BOOST_TEST_REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
    const int small = 1;
    ::setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
  }
  ~Pair() {
    ::close(ends[0]);
    ::close(ends[1]);
  }
  std::string receive() const {
    std::string all;
    char bytes[4096];
    for (ssize_t n = 0; (n = ::recv(ends[1], bytes, sizeof bytes, 0)) > 0;) {
      all.append(bytes, static_cast<std::size_t>(n));
    }
    return all;
  }
  int ends[2];
};

}  // namespace

BOOST_AUTO_TEST_SUITE(send_queue)

BOOST_AUTO_TEST_CASE(replies_overtake_frames_that_are_not_begun_but_never_split_one) {
  const Pair pair;
  SendQueue queue;
  IoMetrics metrics;
  const std::string large(50'000, 'a');
  queue.push(text_frame(large));
  queue.push(text_frame("b"));
  BOOST_TEST((queue.flush(pair.ends[0], metrics) == SendQueue::Result::blocked));
  queue.push_control("C");
  queue.push(text_frame("d"));
  std::string received;
  for (int i = 0; i < 10'000 && !queue.empty(); ++i) {
    received += pair.receive();
    queue.flush(pair.ends[0], metrics);
  }
  received += pair.receive();
  BOOST_TEST(received == large + "Cbd");
  BOOST_TEST(queue.bytes() == 0u);
}

BOOST_AUTO_TEST_CASE(dropping_what_is_pending_keeps_the_frame_that_is_begun) {
  const Pair pair;
  SendQueue queue;
  IoMetrics metrics;
  const std::string large(50'000, 'a');
  queue.push(text_frame(large));
  queue.push(text_frame("b"));
  queue.flush(pair.ends[0], metrics);
  queue.push_control("C");
  queue.drop_pending();
  queue.push(text_frame("end"));
  std::string received;
  for (int i = 0; i < 10'000 && !queue.empty(); ++i) {
    received += pair.receive();
    queue.flush(pair.ends[0], metrics);
  }
  BOOST_TEST(received + pair.receive() == large + "end");
}

BOOST_AUTO_TEST_CASE(replies_to_a_client_that_is_always_a_little_behind_do_not_pile_up) {
  const Pair pair;
  SendQueue queue;
  IoMetrics metrics;
  const std::string reply(10'000, 'r');
  queue.push_control(std::string(50'000, 'r'));
  const std::size_t before = ::mallinfo2().uordblks + ::mallinfo2().hblkhd;
  std::size_t received = 0;
  std::size_t sent = 50'000;
  while (sent < 50'000'000) {
    queue.push_control(reply);
    sent += reply.size();
    while (queue.bytes() > 50'000) {
      queue.flush(pair.ends[0], metrics);
      received += pair.receive().size();
    }
  }
  BOOST_TEST(::mallinfo2().uordblks + ::mallinfo2().hblkhd < before + 5'000'000);
  // What has been begun is still known to be: the rest of it goes out before the end.
  queue.drop_pending();
  queue.push(text_frame("end"));
  std::string last;
  for (int i = 0; i < 10'000 && !queue.empty(); ++i) {
    queue.flush(pair.ends[0], metrics);
    last += pair.receive();
  }
  BOOST_TEST(received + last.size() == sent + 3);
  BOOST_TEST(last.ends_with("rend"));
}

BOOST_AUTO_TEST_CASE(more_frames_than_one_send_takes_go_out_in_order) {
  const Pair pair;
  SendQueue queue;
  IoMetrics metrics;
  std::string expected;
  for (int i = 0; i < 300; ++i) {
    queue.push(text_frame(std::to_string(i)));
    expected += std::to_string(i);
  }
  BOOST_TEST(queue.bytes() == expected.size());
  std::string received;
  BOOST_TEST((queue.flush(pair.ends[0], metrics) != SendQueue::Result::drained));
  for (int i = 0; i < 10'000 && !queue.empty(); ++i) {
    received += pair.receive();
    queue.flush(pair.ends[0], metrics);
  }
  BOOST_TEST(received + pair.receive() == expected);
}

BOOST_AUTO_TEST_CASE(a_peer_that_is_gone_is_a_failure) {
  int ends[2];
  BOOST_TEST_REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
  ::close(ends[1]);
  SendQueue queue;
  IoMetrics metrics;
  queue.push_control("x");
  BOOST_TEST((queue.flush(ends[0], metrics) == SendQueue::Result::failed));
  ::close(ends[0]);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace gamepicker
