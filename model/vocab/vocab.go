// Package vocab holds GPT-2's vocabulary.
package vocab

import _ "embed"

// R50K is the vocabulary in tiktoken's format: a line "base64 id" for each token
// but the special one.
//
//go:embed r50k_base.tiktoken
var R50K string
