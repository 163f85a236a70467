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
  jinja::ParsedTemplate parsed;
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

bool JinjaTemplate::mentions(std::string_view variable) const {
  return program_->parsed.names.contains(std::string(variable));
}

const std::vector<std::string>& JinjaTemplate::notes() const { return program_->parsed.notes; }

std::string JinjaTemplate::render(const nlohmann::ordered_json& variables,
                                  const jinja::Limits& limits) const {
  LATENT8_CHECK(variables.is_object());
  try {
    const jinja::Budget budget(limits);
    jinja::Vector<std::pair<std::string_view, jinja::Value>> globals;
    for (const auto& item : variables.items())
      globals.emplace_back(item.key(), jinja::from_json(item.value()));
    return std::string(jinja::Interpreter(std::move(globals)).render(program_->parsed.body));
  } catch (const Error& error) {
    throw_error(error.code(), "{} {}", program_->name, error.what());
  }
}

}  // namespace latent8
