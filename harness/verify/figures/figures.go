// Package figures is what is known of a model's numbers without a golden: single
// values that somebody has published, each with its source and a tolerance. It
// knows neither the model nor how a figure is checked.
//
// Figures of the released GPT-2s are in figures.json beside this file; none of
// them was computed here. The same kind of file may lie in goldens/MODEL, made by
// reference/float64/figures.py.
//
// Dimensions: B rows of a batch, T positions, C n_embd, V vocab_size.
package figures

import (
	_ "embed"
	"sync"
)

//go:embed figures.json
var published []byte

// Published returns the figures of the released models, by model name.
var Published = sync.OnceValues(func() (*File, error) { return Parse(published) })

// FileName is the name of a file of figures in the folder of a model's goldens.
const FileName = "figures.json"

// File is a file of figures.
type File struct {
	Schema int               `json:"schema"` // 1
	About  string            `json:"about"`  // where they come from, for a person
	Models map[string]*Model `json:"models"`
}

// Model is the figures of one model. Any kind may be absent.
type Model struct {
	Weights       *Weights       `json:"weights"`
	LnF           *LnF           `json:"ln_f"`
	Logits        *Logits        `json:"logits"`
	Greedy        []Greedy       `json:"greedy"`
	TokenLogprobs *TokenLogprobs `json:"token_logprobs"`
	FirstHidden   *FirstHidden   `json:"ln_f_hello_world"`
	NextLogit     *NextLogit     `json:"next_logit"`
}

// Tolerance bounds a figure: |got-want| <= Abs + Rel*max|want|, the maximum over
// the figure's values of that stage.
type Tolerance struct {
	Abs    float64 `json:"abs"`
	Rel    float64 `json:"rel"`
	Reason string  `json:"reason"`
}

// Allowed is the bound where the largest value is max.
func (t Tolerance) Allowed(max float64) float64 { return t.Abs + t.Rel*max }

// Weights identifies the weights that the other figures are of.
type Weights struct {
	Source    string    `json:"source"`
	Commit    string    `json:"commit"`    // on the Hugging Face hub; "" for weights that are not there
	File      string    `json:"file"`      // whose bytes and hash follow; "" where neither is known
	Bytes     int64     `json:"bytes"`     // of File
	SHA256    string    `json:"sha256"`    // of File, hexadecimal
	Tolerance Tolerance `json:"tolerance"` // of Tensors, relative to each value itself
	Tensors   []Tensor  `json:"tensors"`   // some of them, or all
}

// Tensor is the sums and the extremes of one weight. They do not depend on the
// order of its elements.
type Tensor struct {
	Name  string  `json:"name"` // without "transformer."
	Shape []int   `json:"shape"`
	Sum   float64 `json:"sum"`
	SumSq float64 `json:"sumsq"`
	Min   float64 `json:"min"`
	Max   float64 `json:"max"`
}

// LnF is values of stage ln_f for a batch.
type LnF struct {
	Source    string        `json:"source"`
	Tolerance Tolerance     `json:"tolerance"`
	Tokens    [][]int       `json:"tokens"` // [B,T]
	First4    [][][]float64 `json:"first4"` // [B,T,4] channels 0 to 3
	AbsMax    [][]Peak      `json:"absmax"` // [B,T] the value of the largest magnitude
	L2        [][]float64   `json:"l2"`     // [B,T] the norm over C
}

// Peak is a value and its channel, in JSON [index, value].
type Peak struct {
	Index int
	Value float64
}

// Logits is values of stage logits for a batch.
type Logits struct {
	Source       string        `json:"source"`
	Tolerance    Tolerance     `json:"tolerance"` // of logits and of their log-sum-exp
	Tokens       [][]int       `json:"tokens"`    // [B,T]
	Top3IDs      [][][]int     `json:"top3_ids"`  // [B,T,3] ids of the largest, in order
	Top3         [][][]float64 `json:"top3"`      // [B,T,3] their logits
	First4       [][][]float64 `json:"first4"`    // [B,T,4] of ids 0 to 3
	Last         [][]float64   `json:"last"`      // [B,T] of id V-1
	LogSumExp    [][]float64   `json:"logsumexp"` // [B,T] over V
	Labels       [][]int       `json:"labels"`    // [B,T] ids
	MeanNLL      float64       `json:"mean_nll_of_labels_shifted_by_one"`
	NLLTolerance Tolerance     `json:"mean_nll_tolerance"`
}

// Greedy is a continuation by argmax, as text or as tokens.
type Greedy struct {
	Name   string `json:"name"` // of the case
	Source string `json:"source"`
	New    int    `json:"new"` // tokens

	Prompt string `json:"prompt"`
	Text   string `json:"text"` // prompt and continuation

	Tokens    []int `json:"tokens"`     // the prompt
	AllTokens []int `json:"all_tokens"` // prompt and continuation
}

// TokenLogprobs is the log-probability of each token of a text, given the tokens
// before it.
type TokenLogprobs struct {
	Source       string    `json:"source"`
	Tolerance    Tolerance `json:"tolerance"`     // of each
	SumTolerance Tolerance `json:"sum_tolerance"` // of their sum
	Text         string    `json:"text"`
	Prefix       []int     `json:"prefix_tokens"` // fed before the text
	Logprobs     []float64 `json:"logprobs"`      // one for each token of the text
}

// FirstHidden is the first channels of stage ln_f at one position of a text.
type FirstHidden struct {
	Source    string    `json:"source"`
	Tolerance Tolerance `json:"tolerance"`
	Text      string    `json:"text"`
	Position  int       `json:"position"`
	First10   []float64 `json:"first10"` // [10] channels 0 to 9
}

// NextLogit is the most probable token after a text, and its logit.
type NextLogit struct {
	Source    string    `json:"source"`
	Tolerance Tolerance `json:"tolerance"`
	Text      string    `json:"text"`
	Argmax    int       `json:"argmax"`
	Logit     float64   `json:"logit"`
}
