// Package diagnose says what is wrong with a dump of GPT-2: comparison, replay,
// cause, certainty of the tokens, and the quorum of the goldens' engines.
package diagnose
