package verify

// prompts are continued greedily by models that may have no goldens. Nobody has
// published what comes of them: three runs must agree.
var prompts = []struct {
	model, name, prompt string
	new                 int // tokens
}{
	{"gpt2-medium", "quick-brown", "The quick brown", 10},
	{"gpt2-medium", "once-upon", "Once upon a time", 10},
}
