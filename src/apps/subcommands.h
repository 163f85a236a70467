#pragma once
// The subcommands of the latent8 program, one per file. Each function adds its subcommand to `root` with its
// flags and help; the work is done in the subcommand's callback, which throws Error.

#include <CLI/CLI.hpp>

namespace latent8 {

void add_inspect(CLI::App& root);
void add_serve(CLI::App& root);
void add_tokenize(CLI::App& root);
void add_eval(CLI::App& root);
void add_eval_needle(CLI::App& eval);  // below `eval`
void add_quantize(CLI::App& root);
void add_verify(CLI::App& root);
void add_quant_deepseek_w8a8(CLI::App& root);
void add_run(CLI::App& root);
void add_chat(CLI::App& root);
void add_run_pa(CLI::App& root);
void add_doctor(CLI::App& root);
void add_bench(CLI::App& root);
void add_plan(CLI::App& root);
void add_bench_quantize(CLI::App& bench);  // below `bench`
void add_bench_serve(CLI::App& bench);     // likewise
void add_bench_mtp(CLI::App& bench);       // likewise
// Hidden; they describe `root` and what was added to it.
void add_completion(CLI::App& root);
void add_manual(CLI::App& root);

}  // namespace latent8
