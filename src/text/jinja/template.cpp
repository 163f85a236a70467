#include "text/jinja/template.h"

#include <nlohmann/json.hpp>

#include "base/check.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/json.h"
#include "text/jinja/parser.h"
#include "text/utf8.h"

namespace latent8 {

struct JinjaTemplate::Program {
  std::string name;
  jinja::Body body;
};

JinjaTemplate::JinjaTemplate(std::string_view source, std::string_view name) {
  if (const auto bad = first_invalid_utf8(source)) {
    throw_error(ErrorCode::kInvalidArgument, "{}: byte {} of the template is not UTF-8", name, *bad);
  }
  program_ = std::make_unique<const Program>(Program{std::string(name), jinja::Parser(source, name).parse()});
}

JinjaTemplate::~JinjaTemplate() = default;
JinjaTemplate::JinjaTemplate(JinjaTemplate&&) noexcept = default;
JinjaTemplate& JinjaTemplate::operator=(JinjaTemplate&&) noexcept = default;

std::string JinjaTemplate::render(const nlohmann::ordered_json& variables) const {
  LATENT8_CHECK(variables.is_object());
  try {
    std::vector<std::pair<std::string, jinja::Value>> globals;
    for (const auto& [name, value] : variables.items()) globals.emplace_back(name, jinja::from_json(value));
    return jinja::Interpreter(std::move(globals)).render(program_->body);
  } catch (const Error& error) {
    throw_error(error.code(), "{} {}", program_->name, error.what());
  }
}

}  // namespace latent8
