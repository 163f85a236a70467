#pragma once
// The calls of tools as a grammar.

#include <optional>

#include "grammar/grammar.h"
#include "server/chat_events.h"
#include "server/chat_messages.h"

namespace latent8 {

enum class ToolArgumentsForm : std::uint8_t {
  kSchemas,     // as the tools' parameters say
  kAnyObjects,  // any JSON objects
};

// What may come in an answer with tools, as XGrammar's structural tag in the marks of the model's format.
//   kAuto                text with calls in it; with `content`, either text of that grammar or calls
//   kRequired, kNamed    calls and nothing else; of the named tool one
// nullopt for kNone and for a format without calls.
std::optional<GrammarSpec> tool_grammar(const ToolOptions& tools, const ToolChoice& choice,
                                        ToolArgumentsForm arguments,
                                        const std::optional<GrammarSpec>& content);

}  // namespace latent8
