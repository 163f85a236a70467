#include "server/http.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <future>
#include <thread>

#include "server/http_text.h"

namespace latent8 {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

// A connection to the loopback.
class Client {
 public:
  explicit Client(std::uint16_t port) : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof(to)), 0);
  }
  ~Client() { close(fd_); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  void send(std::string_view text) const {
    EXPECT_EQ(::send(fd_, text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
  }
  // The server may have closed.
  void try_send(std::string_view text) const {
    static_cast<void>(::send(fd_, text.data(), text.size(), MSG_NOSIGNAL));
  }
  // What comes next, at least a byte of it; empty when the server closes.
  std::string some() const {
    char buffer[4096];
    const ssize_t n = recv(fd_, buffer, sizeof(buffer), 0);
    return {buffer, buffer + std::max<ssize_t>(n, 0)};
  }
  // All that comes until the server closes.
  std::string rest() const {
    std::string out;
    for (std::string more = some(); !more.empty(); more = some()) out += more;
    return out;
  }

 private:
  int fd_;
};

HttpOptions options() {
  HttpOptions o;
  o.listeners.front().port = 0;
  return o;
}

void echo(const std::shared_ptr<Exchange>& exchange) {
  const HttpRequest& r = exchange->request();
  exchange->reply({.status = 200,
                   .content_type = "text/plain",
                   .body = r.method + " " + r.path + " " + r.body,
                   .headers = {}});
}

TEST(HttpServer, AnswersRequestsOneAfterTheOther) {
  const HttpServer server(options(), echo);
  const Client client(server.port());

  client.send(
      "POST /a%20b?x=1 HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\n\r\nabc"
      "GET /c HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n");
  const std::string reply = client.rest();

  EXPECT_THAT(reply, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(reply, HasSubstr("\r\n\r\nPOST /a b abcHTTP/1.1 200 OK"));
  EXPECT_THAT(reply, HasSubstr("\r\n\r\nGET /c "));
}

TEST(HttpServer, EndsTheConnectionWhereTheEndOfABodyMayBeSeenInTwoPlaces) {
  const HttpServer server(options(), echo);
  const std::string smuggled = "GET /smuggled HTTP/1.1\r\nhost: h\r\n\r\n";
  for (const auto& [headers, status] : std::vector<std::pair<std::string, std::string>>{
           {"host: h\r\ntransfer-encoding: xchunked\r\n", "501"},
           {"host: h\r\ntransfer-encoding: gzip, chunked\r\n", "501"},
           {"host: h\r\ntransfer-encoding: chunked, chunked\r\n", "501"},
           {"host: h\r\ntransfer-encoding: identity\r\n", "501"},
           {"host: h\r\ncontent-encoding: gzip\r\ncontent-length: 0\r\n", "415"},
           {"host: h\r\nhost: g\r\n", "400"},
           {"", "400"}}) {
    const Client client(server.port());

    client.send("POST / HTTP/1.1\r\n" + headers + "\r\n" + smuggled);
    const std::string reply = client.rest();

    EXPECT_THAT(reply, StartsWith("HTTP/1.1 " + status + " ")) << headers;
    EXPECT_EQ(reply.find("smuggled"), std::string::npos) << headers;
  }
}

TEST(HttpServer, SendsAStreamInChunksAndToOldClientsAsItIs) {
  const HttpServer server(options(), [](const std::shared_ptr<Exchange>& exchange) {
    std::thread([exchange] {
      exchange->begin({.status = 200, .content_type = "text/event-stream", .body = "", .headers = {}});
      exchange->write("one");
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      exchange->write("two");
      exchange->end();
    }).detach();
  });
  const Client chunked(server.port()), old(server.port());

  chunked.send("GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n");
  old.send("GET / HTTP/1.0\r\n\r\n");

  EXPECT_THAT(chunked.rest(), HasSubstr("3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"));
  const std::string plain = old.rest();
  EXPECT_THAT(plain, HasSubstr("\r\n\r\nonetwo"));
  EXPECT_EQ(plain.find("chunked"), std::string::npos);
}

TEST(HttpServer, TellsTheReplyThatItsClientHasLeft) {
  std::promise<void> left;
  std::shared_ptr<Exchange> kept;
  std::promise<void> came;
  const HttpServer server(options(), [&](std::shared_ptr<Exchange> exchange) {
    kept = std::move(exchange);
    kept->begin({.status = 200, .content_type = "text/plain", .body = "", .headers = {}});
    kept->on_abort([&] { left.set_value(); });
    came.set_value();
  });
  {
    const Client client(server.port());
    client.send("GET / HTTP/1.1\r\nhost: h\r\n\r\n");
    came.get_future().wait();
  }

  EXPECT_EQ(left.get_future().wait_for(std::chrono::seconds(20)), std::future_status::ready);
  EXPECT_FALSE(kept->write("nobody reads this"));
}

TEST(HttpServer, EndsAReplyThatIsReadTooSlowly) {
  HttpOptions o = options();
  o.max_unsent_bytes = 1000;
  bool written = true;
  std::promise<void> done;
  const HttpServer server(o, [&](const std::shared_ptr<Exchange>& exchange) {
    exchange->begin({.status = 200, .content_type = "text/plain", .body = "", .headers = {}});
    written = exchange->write(std::string(2000, 'x'));
    done.set_value();
  });
  const Client client(server.port());

  client.send("GET / HTTP/1.1\r\nhost: h\r\n\r\n");
  done.get_future().wait();

  EXPECT_FALSE(written);
  EXPECT_EQ(client.rest().find('x'), std::string::npos);
}

TEST(HttpServer, RefusesWhatIsNoRequest) {
  HttpOptions o = options();
  o.max_header_bytes = 1024;
  o.max_body_bytes = 10;
  const HttpServer server(o, echo);
  const std::pair<std::string, const char*> cases[] = {
      {"nonsense\r\n\r\n", " 400 "},
      {"GET / HTTP/1.1\r\nbad header\r\n\r\n", " 400 "},
      {"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: -1\r\n\r\n", " 400 "},
      {"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab", " 400 "},
      {"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
       " 400 "},
      {"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 11\r\n\r\n0123456789a", " 413 "},
      {"GET / HTTP/1.1\r\na: " + std::string(2000, 'x') + "\r\n\r\n", " 431 "},
  };
  for (const auto& [request, status] : cases) {
    const Client client(server.port());

    client.send(request);

    EXPECT_THAT(client.rest().substr(0, 20), HasSubstr(status)) << request.substr(0, 60);
  }
}

TEST(HttpServer, AsksItsGuardBeforeABodyIsRead) {
  const HttpServer server(options(), echo, [](const HttpRequest& request) -> std::optional<HttpReply> {
    if (request.header("authorization") == "Bearer key") return {};
    return HttpReply{.status = 401, .content_type = "", .body = "", .headers = {}};
  });
  const Client client(server.port());

  client.send("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 1000000\r\n\r\n");

  EXPECT_THAT(client.rest(), StartsWith("HTTP/1.1 401 Unauthorized"));
}

TEST(HttpServer, ARefusalReachesAClientThatStillSends) {
  HttpOptions o = options();
  o.max_body_bytes = 10;
  const HttpServer server(o, echo);
  const std::string body(std::size_t{8} << 20, 'x');
  const Client client(server.port());

  client.send("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: " + std::to_string(body.size()) + "\r\n\r\n" +
              body);

  EXPECT_THAT(client.rest(), StartsWith("HTTP/1.1 413 "));
}

TEST(HttpServer, EndsABodyThatTricklesIn) {
  HttpOptions o = options();
  o.request_s = 0.3;
  const HttpServer server(o, echo);
  const Client client(server.port());

  client.send("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 1000\r\n\r\n");
  std::atomic<bool> ended{false};
  std::thread trickle([&] {
    while (!ended) {
      client.try_send("x");
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  });

  EXPECT_EQ(client.rest(), "");
  ended = true;
  trickle.join();
}

TEST(HttpServer, ClosesIdleConnectionsWhenItDrains) {
  HttpServer server(options(), echo);
  const Client client(server.port());
  client.send("GET /a HTTP/1.1\r\nhost: h\r\n\r\n");
  const std::string answer = client.some();

  server.drain();

  EXPECT_THAT(answer + client.rest(), HasSubstr("GET /a"));
}

TEST(HttpServer, EndsWithExchangesStillOpen) {
  std::shared_ptr<Exchange> kept;
  std::promise<void> came;
  {
    const HttpServer server(options(), [&](std::shared_ptr<Exchange> exchange) {
      kept = std::move(exchange);
      came.set_value();
    });
    const Client client(server.port());
    client.send("GET / HTTP/1.1\r\nhost: h\r\n\r\n");
    came.get_future().wait();
  }

  kept->reply({.status = 200, .content_type = "", .body = "late", .headers = {}});
  EXPECT_FALSE(kept->write("later"));
}

TEST(HttpText, ReadsPathsOfAbsoluteUrls) {
  HttpRequest request;

  split_target("http://host:8000/v1/models?a=b", request);

  EXPECT_EQ(request.path, "/v1/models");
  EXPECT_EQ(request.query, "a=b");
}

}  // namespace
}  // namespace latent8
