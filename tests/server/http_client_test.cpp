#include "server/http_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "latent8/error.h"

namespace latent8 {
namespace {

using testing::HasSubstr;

HttpOptions any_port() {
  HttpOptions o;
  o.listeners.front().port = 0;
  return o;
}

HttpClientOptions client_of(const HttpServer& server, const std::string& path = "") {
  return {.url = HttpUrl::parse("http://127.0.0.1:" + std::to_string(server.port()) + path), .ca_file = ""};
}

TEST(HttpClient, SendsARequestAndReturnsTheReply) {
  const HttpServer server(any_port(), [](const std::shared_ptr<Exchange>& exchange) {
    const HttpRequest& r = exchange->request();
    exchange->reply({.status = 418,
                     .content_type = "text/plain",
                     .body = r.method + " " + r.path + " " + std::string(r.header("x-mine")) + " " + r.body,
                     .headers = {{"x-theirs", "b"}}});
  });

  const HttpReply reply = http_call(
      client_of(server, "/base/"),
      {.method = "POST", .path = "/path", .headers = {{"x-mine", "a"}}, .body = "body", .on_body = {}});

  EXPECT_EQ(reply.status, 418);
  EXPECT_EQ(reply.content_type, "text/plain");
  EXPECT_EQ(reply.body, "POST /base/path a body");
  EXPECT_THAT(reply.headers, testing::Contains(testing::Pair("x-theirs", "b")));
}

TEST(HttpClient, HandsOverTheBodyAsItComesAndLeavesWhenNoMoreIsWanted) {
  std::atomic<bool> left{false};
  const HttpServer server(any_port(), [&](const std::shared_ptr<Exchange>& exchange) {
    exchange->begin({.status = 200, .content_type = "text/event-stream", .body = "first", .headers = {}});
    exchange->on_abort([&left] { left = true; });
  });
  std::string got;

  const HttpReply reply = http_call(
      client_of(server), {.path = "/", .headers = {}, .body = "", .on_body = [&](std::string_view part) {
                            got += part;
                            return false;
                          }});

  EXPECT_EQ(got, "first");
  EXPECT_EQ(reply.status, 200);
  while (!left) std::this_thread::sleep_for(std::chrono::milliseconds(5));
}

TEST(HttpClient, EndsWhenItIsInterrupted) {
  const HttpServer server(any_port(), [](const std::shared_ptr<Exchange>&) {});  // never answers
  std::atomic<bool> interrupted{false};
  std::thread later([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    interrupted = true;
  });

  const HttpReply reply =
      http_call(client_of(server),
                {.path = "/", .headers = {}, .body = "", .on_body = {}, .interrupted = &interrupted});

  EXPECT_EQ(reply.status, 0);
  later.join();
}

TEST(HttpClient, SaysWhichServerItCannotReach) {
  std::uint16_t port = 0;
  {
    const HttpServer gone(any_port(), [](const std::shared_ptr<Exchange>&) {});
    port = gone.port();
  }
  const std::string url = "http://127.0.0.1:" + std::to_string(port);
  try {
    http_call({.url = HttpUrl::parse(url), .ca_file = ""},
              {.path = "/", .headers = {}, .body = "", .on_body = {}});
    FAIL() << "a server that is gone answered";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnavailable);
    EXPECT_THAT(error.what(), HasSubstr(url));
  }
}

TEST(HttpUrl, IsTakenApart) {
  const HttpUrl plain = HttpUrl::parse("http://host/v1/");
  const HttpUrl tls = HttpUrl::parse("https://[::1]:8443");

  EXPECT_EQ(plain.text(), "http://host:80/v1");
  EXPECT_EQ(tls.text(), "https://[::1]:8443");
  EXPECT_EQ(tls.host, "::1");
  EXPECT_TRUE(tls.tls);
  for (const char* wrong :
       {"", "host", "ftp://host", "http://", "http://host:", "http://host:port", "http://host:123456",
        "http://a b", "http://user@host", "http://host/?q", "http://:80"})
    EXPECT_THROW(HttpUrl::parse(wrong), Error) << wrong;
}

}  // namespace
}  // namespace latent8
