package gpt2

// text is a greedy continuation that somebody published.
type text struct {
	model, name  string // the model's name, and the case's
	prompt, want string // want begins with the prompt
	new          int    // tokens
	source       string
}

const tinygradExample = "tinygrad examples/gpt2.py, temperature 0, 10 new tokens"

// texts are checked by checkpoint 12 for the models they are of.
var texts = []text{
	{"gpt2-medium", "hello", "Hello.",
		"Hello. I'm a little late to the party, but", 10, tinygradExample},
	{"gpt2-medium", "answer", "What is the answer to life, the universe, and everything?",
		"What is the answer to life, the universe, and everything?\n\nThe answer is that we are all one", 10, tinygradExample},
}
