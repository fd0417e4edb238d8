package gpt2

// text is a prompt whose greedy continuation checkpoint 12 asserts for a model
// that may have no goldens.
type text struct {
	model, name  string // the model's name, and the case's
	prompt, want string // want begins with the prompt; "" where nobody published it: three runs must agree
	new          int    // tokens
	source       string // who published it
}

const tinygradExample = "tinygrad examples/gpt2.py, temperature 0, 10 new tokens"

var texts = []text{
	{"gpt2-medium", "hello", "Hello.",
		"Hello. I'm a little late to the party, but", 10, tinygradExample},
	{"gpt2-medium", "answer", "What is the answer to life, the universe, and everything?",
		"What is the answer to life, the universe, and everything?\n\nThe answer is that we are all one", 10, tinygradExample},
	{"gpt2-medium", "quick-brown", "The quick brown", "", 10, ""},
	{"gpt2-medium", "once-upon", "Once upon a time", "", 10, ""},
}
