#pragma once
// The server of one model: from options to the end of the process.

#include "frontend/frontend.h"
#include "server/http.h"
#include "server/service.h"

namespace latent8 {

struct ServerOptions {
  HttpOptions http;
  ServiceOptions service;
  double drain_s = 300.0;  // after SIGTERM, for answers under way
};

// SIGINT, SIGTERM and SIGHUP are waited for, not delivered, from its making on: make it before any thread
// starts.
class ServerSignals {
 public:
  ServerSignals();
  // The next signal; 0 after time_s without one.
  int wait(double time_s);
};

// Answers requests until SIGTERM or SIGINT; then refuses new ones, finishes those under way for at most
// drain_s, or until a second signal. SIGHUP reads the TLS files again. Throws: Error as HttpServer.
void serve(Frontend& frontend, const ServerOptions& options, ServerSignals& signals);

}  // namespace latent8
