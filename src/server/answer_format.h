#pragma once
// The fields of a body that bind the form of an answer: grammars and the length of the reasoning.

#include <functional>
#include <optional>
#include <string>

#include "frontend/answer_form.h"
#include "server/fields.h"

namespace latent8 {

struct AnswerFormat {
  AnswerForm form;
  std::string grammar_field;  // that asked for the grammar
};

// At most one grammar: response_format (text, json_object, json_schema, structural_tag), structured_outputs
// as vLLM has it (json, json_object, regex, choice, grammar, structural_tag), or its older guided_json,
// guided_regex, guided_choice, guided_grammar. The budget of tokens under any name of kBudgetFields, -1:
// none. reasoning_effort "none" is a budget of 0. Throws: ApiError naming the field.
AnswerFormat read_answer_format(const Fields& body);

// Whether reasoning_effort is "none". Throws: ApiError naming the field.
bool reasons_not(const Fields& body);

// What `make` returns. Throws: ApiError 400 naming the field where make throws an Error about the grammar.
MaskFactory with_field(const std::string& field, const std::function<MaskFactory()>& make);

}  // namespace latent8
