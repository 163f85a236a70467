#include "server/server.h"

#include <signal.h>

#include <cmath>
#include <ctime>

#include "base/error.h"
#include "base/log.h"

namespace latent8 {
namespace {

sigset_t awaited() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&set, signal);
  return set;
}

void reload(HttpServer& http) {
  try {
    http.reload_tls();
    log_info("SIGHUP: TLS files read again");
  } catch (const Error& error) {
    log_error(fmt::format("SIGHUP: {}; the former certificate stays", error.what()));
  }
}

// What a listener is for, where it is not for everything.
std::string purpose(Planes planes) {
  if ((planes & kAllButStop) == kAllButStop) return "";
  std::string text;
  for (const auto& [plane, name] :
       {std::pair{kBusiness, "answers"}, {kManagement, "management"}, {kMetrics, "metrics"}})
    if ((planes & plane) != 0) text += (text.empty() ? "" : ", ") + std::string(name);
  return " (" + text + ")";
}

constexpr double kTick_s = 0.05, kForever_s = 3600.0;

}  // namespace

ServerSignals::ServerSignals() {
  const sigset_t set = awaited();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
}

int ServerSignals::wait(double time_s) {
  const sigset_t set = awaited();
  const timespec time{.tv_sec = static_cast<std::time_t>(time_s),
                      .tv_nsec = static_cast<long>((time_s - std::floor(time_s)) * 1e9)};
  return std::max(sigtimedwait(&set, nullptr, &time), 0);
}

void serve(Frontend& frontend, const ServerOptions& options, ServerSignals& signals) {
  Service service(frontend, options.service);
  HttpServer http(
      options.http, [&](std::shared_ptr<Exchange> exchange) { service.handle(std::move(exchange)); },
      [&](const HttpRequest& request) { return service.guard(request); });
  for (std::size_t i = 0; i < options.http.listeners.size(); ++i) {
    const HttpListener& listener = options.http.listeners[i];
    log_info(fmt::format("serving '{}' on {}://{}:{}{}", options.service.model_names.front(),
                         listener.tls ? "https" : "http", listener.host, http.port(i),
                         purpose(options.service.planes.at(i))));
  }
  for (int signal = 0; signal == 0 || signal == SIGHUP;) {
    signal = signals.wait(kForever_s);
    if (signal == SIGHUP) reload(http);
  }
  log_info(fmt::format("shutting down: {} requests under way get {:.0f} s; a second signal ends them",
                       http.open_exchanges(), options.drain_s));
  service.drain();
  http.drain();
  for (double waited = 0.0; waited < options.drain_s && http.open_exchanges() > 0; waited += kTick_s) {
    const int signal = signals.wait(kTick_s);
    if (signal == SIGINT || signal == SIGTERM) break;
  }
}

}  // namespace latent8
