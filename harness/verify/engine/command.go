package engine

import (
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/kballard/go-shellquote"

	"checkpoint12/harness/internal/words"
)

// A Command is an engine's command line, split into words, which may hold placeholders.
type Command []string

// operators are the words that only a shell gives a meaning.
var operators = []string{"|", "||", "&", "&&", ";", "<", ">", ">>", "2>", "2>&1", "&>"}

// Parse splits a command line into words as a POSIX shell does, but expands nothing. On
// Windows a backslash is itself.
func Parse(line string) (Command, error) {
	const itself = "\x00"
	switch {
	case strings.Contains(line, itself):
		return nil, errors.New("holds a NUL")
	case runtime.GOOS == "windows":
		line = strings.ReplaceAll(line, `\`, itself)
	}
	words, err := shellquote.Split(line)
	if err != nil {
		return nil, errors.New(strings.ToLower(err.Error()))
	}
	for i, word := range words {
		if slices.Contains(operators, word) && slices.Contains(strings.Fields(line), word) {
			return nil, fmt.Errorf("%s is a shell's, and none runs it: give sh -c '...', "+
				"which has the values in $CHECKPOINT12_OUT and the like", word)
		}
		words[i] = strings.ReplaceAll(word, itself, `\`)
	}
	if len(words) == 0 || words[0] == "" {
		return nil, errors.New("names no program")
	}
	if err := checkPlaceholders(words); err != nil {
		return nil, err
	}
	return words, nil
}

// braced is what looks like a placeholder: a name in braces, without the $ of a shell's variable.
var braced = regexp.MustCompile(`(?:^|[^$])(\{[A-Za-z][A-Za-z0-9_-]*\})`)

// checkPlaceholders refuses a name in braces that is no placeholder, such as a misspelt one.
// Other braces, as of JSON or with a blank in them, are the engine's own.
func checkPlaceholders(words []string) error {
	var known []string
	for _, v := range (Case{}).values() {
		known = append(known, "{"+v[0]+"}")
	}
	for _, word := range words {
		for _, m := range braced.FindAllStringSubmatch(word, -1) {
			if !slices.Contains(known, m[1]) {
				return fmt.Errorf("there is no placeholder %s, only %s; for braces of the engine's own, put a blank in them",
					m[1], strings.Join(known, " "))
			}
		}
	}
	return nil
}

// String returns the command as a shell takes it.
func (c Command) String() string {
	var all []string
	for _, word := range c {
		quoted := strings.ReplaceAll(shellquote.Join(word), `\{`, "{")
		if words.Visible(word) != word {
			quoted = words.Shell(word)
		}
		all = append(all, quoted)
	}
	return strings.Join(all, " ")
}

// A Case holds the values of the placeholders.
type Case struct {
	Model  string // a folder with config.json and model.safetensors
	Tokens string // an int64 .npy [B, N]: the prompt, what to feed after it, and the last choice
	Mask   string // an int64 .npy [B, N]
	Prompt int    // how many of the N are prompt
	New    int    // how many tokens are to be chosen
	DType  string
	Out    string // an empty folder
}

func (c Case) values() [][2]string {
	return [][2]string{
		{"model", c.Model}, {"tokens", c.Tokens}, {"mask", c.Mask}, {"prompt", strconv.Itoa(c.Prompt)},
		{"new", strconv.Itoa(c.New)}, {"dtype", c.DType}, {"out", c.Out},
	}
}

// Words returns the command's words with the case's values for the placeholders.
func (c Command) Words(of Case) []string {
	var pairs []string
	for _, v := range of.values() {
		pairs = append(pairs, "{"+v[0]+"}", v[1])
	}
	replacer, words := strings.NewReplacer(pairs...), slices.Clone(c)
	for i := range words {
		words[i] = replacer.Replace(words[i])
	}
	return words
}

// Needs reports whether a run needs the value of a placeholder, or may read it in the
// environment: from there a command takes all that has no {out}.
func (c Command) Needs(name string) bool {
	words := strings.Join(c, " ")
	return strings.Contains(words, "{"+name+"}") || !strings.Contains(words, "{out}")
}

// Line returns the command line of a run as a shell takes it, with the environment that it
// needs.
func (c Command) Line(of Case) string {
	words := c.Words(of)
	if !strings.Contains(strings.Join(c, " "), "{out}") {
		words = slices.Concat([]string{"env"}, of.environment(), words)
	}
	return Command(words).String()
}

// environment returns the values as environment variables, CHECKPOINT12_MODEL and so on.
func (c Case) environment() []string {
	var list []string
	for _, v := range c.values() {
		list = append(list, "CHECKPOINT12_"+strings.ToUpper(v[0])+"="+v[1])
	}
	return list
}
