// The latent8 program. Exit status: 0, 1 (the input or the machine), 2 (usage).

#include <csignal>
#include <exception>
#include <filesystem>
#include <new>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "apps/output.h"
#include "apps/subcommands.h"
#include "base/printable.h"
#include "latent8/version.h"

namespace {

void add_subcommands(CLI::App& root) {
  latent8::add_quantize(root);
  latent8::add_quant_deepseek_w8a8(root);
  latent8::add_verify(root);
  latent8::add_run(root);
  latent8::add_chat(root);
  latent8::add_run_pa(root);
  latent8::add_serve(root);
  latent8::add_inspect(root);
  latent8::add_tokenize(root);
  latent8::add_eval(root);
  latent8::add_doctor(root);
  latent8::add_bench(root);
  latent8::add_plan(root);
  latent8::add_completion(root);
  latent8::add_manual(root);
}

int fail(std::string_view message) {
  latent8::print_remark("latent8: error: {}\n", latent8::shown_message(message));
  return 1;
}

// Help and version go to stdout, which may be full; complaints about the usage to stderr.
int end_of_parsing(const CLI::App& root, const CLI::ParseError& error) {
  std::ostringstream out, complaint;
  const int code = root.exit(error, out, complaint);
  latent8::print_remark(std::string_view(latent8::shown_message(complaint.str())));
  latent8::print_result(out.str());
  latent8::flush_results();
  return code == 0 ? 0 : 2;
}

// Ends as if the signal had not been caught, which shells and scripts can tell.
int end_by(int signal) {
  std::signal(signal, SIG_DFL);
  std::raise(signal);
  return 1;
}

// The first argument, if it is neither a flag nor a subcommand: CLI11 would say only that one is required.
std::string unknown_subcommand(const CLI::App& root, int argc, char** argv) {
  if (argc < 2 || argv[1][0] == '-') return "";
  for (const CLI::App* app : root.get_subcommands([](const CLI::App*) { return true; }))
    if (app->check_name(argv[1])) return "";
  return argv[1];
}

// The program is installed under a second name that stands for a subcommand.
constexpr const char* kReferenceCommand = "quant_deepseek_w8a8";

std::vector<char*> arguments(int argc, char** argv) {
  std::vector<char*> args(argv, argv + argc);
  static std::string command = kReferenceCommand;
  if (argc > 0 && std::filesystem::path(argv[0]).filename() == command)
    args.insert(args.begin() + 1, command.data());
  return args;
}

}  // namespace

namespace {

int run(int argc, char** argv) {
  CLI::App root(
      "latent8: quantises DeepSeek-style models to W8A8 weights and an int8 latent cache, and runs them on "
      "CPUs",
      "latent8");
  root.set_version_flag("--version", fmt::format("latent8 {}", latent8::kVersion));
  root.require_subcommand(1);
  root.footer("Examples:\n  latent8 inspect models/tiny\n  latent8 <command> --help");
  add_subcommands(root);
  std::vector<char*> args = arguments(argc, argv);
  argc = static_cast<int>(args.size());
  if (const std::string name = unknown_subcommand(root, argc, args.data()); !name.empty()) {
    latent8::print_remark("latent8: no command '{}'\nRun with --help for more information.\n",
                          latent8::shown_message(name));
    return 2;
  }
  try {
    root.parse(argc, args.data());
  } catch (const CLI::ParseError& error) {
    return end_of_parsing(root, error);
  }
  latent8::flush_results();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  latent8::open_standard_streams();
  std::signal(SIGXFSZ, SIG_IGN);  // a file over the limit is then an error of write(), which says which
  try {
    return run(argc, argv);
  } catch (const latent8::Interrupted& interrupted) {
    return end_by(interrupted.signal);
  } catch (const std::bad_alloc&) {
    return fail("out of memory; use a smaller context, batch or cache");
  } catch (const std::filesystem::filesystem_error& error) {
    return fail(error.what());
  } catch (const std::system_error& error) {  // of the standard library: a thread, a clock, a lock
    return fail(std::string("the system refused a thread or another of its means: ") +
                error.code().message() +
                "; raise its limits (ulimit -u, pids.max), or ask for fewer --threads");
  } catch (const std::exception& error) {
    return fail(error.what());
  }
}
