#pragma once
// The routes that the reference has beside OpenAI's, with its field names.

#include "server/routes.h"

namespace latent8 {

void add_mindie_routes(RouteTable& routes);

// {"error", "error_type"}; what is wrong with a body has status 422.
HttpReply mindie_reply(const ApiError& error);

// POST /generate (TGI's body or vLLM's), /generate_stream and / (TGI's), /infer and /infer_token.
void generate(const Call& call);
void generate_stream(const Call& call);
void generate_tgi(const Call& call);
void infer(const Call& call);

// /v2 and /v2/models/{model}: Triton's.
void triton_generate(const Call& call);
void triton_generate_stream(const Call& call);
void triton_infer(const Call& call);
void triton_stop(const Call& call);
void triton_server(const Call& call);
void triton_model(const Call& call);
void triton_model_config(const Call& call);

// What operators ask.
void live(const Call& call);
void ready(const Call& call);
void model_ready(const Call& call);
void server_info(const Call& call);
void slot_count(const Call& call);
void recent_metrics(const Call& call);
void server_config(const Call& call);
void server_status(const Call& call);
void stop_service(const Call& call);
void count_tokens(const Call& call);

// Throws: ApiError 404 if the {model} of the path is not served here.
void check_model(const Call& call);

}  // namespace latent8
