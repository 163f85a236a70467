// For differential_test.py: reads lines {"template", "variables"}, prints {"text"} or {"error"}.

#include <iostream>
#include <nlohmann/json.hpp>

#include "latent8/error.h"
#include "text/jinja/template.h"

int main() {
  using Json = nlohmann::ordered_json;
  for (std::string line; std::getline(std::cin, line);) {
    const Json request = Json::parse(line);
    Json answer;
    try {
      const latent8::JinjaTemplate chat(request.at("template").get<std::string>(), "template");
      answer["text"] = chat.render(request.at("variables"));
    } catch (const latent8::Error& error) {
      answer["error"] = error.what();
    }
    std::cout << answer.dump(-1, ' ', true) << '\n' << std::flush;
  }
}
