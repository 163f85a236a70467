#pragma once
// Templates in the part of the Jinja2 language that chat templates use.

#include <memory>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

namespace latent8 {

// A compiled template. Evaluates as Jinja2 does in the environment of Hugging Face `transformers`:
// trim_blocks, lstrip_blocks, loop controls, the functions range, namespace, raise_exception and
// strftime_now, and its tojson. Nesting, work and size of a rendering are bounded, since templates come with
// checkpoints. Thread-safety: immutable after construction.
class JinjaTemplate {
 public:
  // name stands for the template in messages.
  // Throws: Error{kInvalidArgument} for a syntax error, Error{kUnsupported} naming a statement, filter, test,
  // method or function that is not supported; both with name and line.
  JinjaTemplate(std::string_view source, std::string_view name);
  ~JinjaTemplate();
  JinjaTemplate(JinjaTemplate&&) noexcept;
  JinjaTemplate& operator=(JinjaTemplate&&) noexcept;

  // variables: an object; its members are the template's variables.
  // Throws: Error{kInvalidArgument} with the line where the template failed, or with the message that it gave
  // to raise_exception.
  std::string render(const nlohmann::ordered_json& variables) const;

 private:
  struct Program;
  std::unique_ptr<const Program> program_;
};

}  // namespace latent8
