// Package diagnose finds what is wrong with a dump of GPT-2: it compares, replays,
// names causes, certifies tokens, and sets goldens against each other.
package diagnose
