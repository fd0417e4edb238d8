// Package figures reads figures: published values of a model, each with its source and
// tolerance, that can be checked without a golden. It knows nothing of models and checks.
//
// Figures of the released GPT-2s are in figures.json, one a line; none of them was
// computed here. reference/float64/figures.py makes such files in goldens/MODEL.
package figures

import (
	_ "embed"
	"strings"
	"sync"
)

//go:embed figures.json
var published []byte

// Published returns the figures of the released models, by model name.
var Published = sync.OnceValues(func() (*File, error) { return Parse(published) })

// FileName is the name of a file of figures in the folder of a model's goldens.
const FileName = "figures.json"

// MaxFile is the largest size of a file of figures, in bytes.
const MaxFile = 4 << 20

// A File is a file of figures.
type File struct {
	Schema int                 `json:"schema"` // 2
	About  string              `json:"about"`  // where they come from, for a person
	Models map[string][]Figure `json:"models"`
}

// A Figure is one assertion: that Reduce gives Want of Stage.
type Figure struct {
	Name   string `json:"name"` // its kind and its part, "logits.top3"
	Source string `json:"source"`

	// The model is run on B rows of tokens, or on a text: after a prefix token by token,
	// to use the cache.
	Tokens [][]int `json:"tokens"`
	Text   string  `json:"text"`
	Prefix []int   `json:"prefix"`
	New    int     `json:"new"` // tokens to generate, for the reduces Text and Tokens

	Stage  string `json:"stage"` // of the run; or the name of a weight, or of a file of weights
	Shape  []int  `json:"shape"` // of the weight
	Reduce Reduce `json:"reduce"`
	Row    *int   `json:"row"`   // the only row that Want is of
	Index  Array  `json:"index"` // elements of each row: the same k in all of them, or k for each
	Want   Want   `json:"want"`
	Tolerance
}

// Kind returns the part of the name before the first dot.
func (f *Figure) Kind() string { return strings.Split(f.Name, ".")[0] }

// Part returns the part of the name after the first dot.
func (f *Figure) Part() string { return strings.TrimPrefix(f.Name, f.Kind()+".") }

// A Reduce is the name of a reduction, which makes a figure of a stage. A row is a vector
// along the stage's last axis.
type Reduce string

const (
	Value     Reduce = "value"     // the elements at Index, where -1 is the last; all without Index
	Log       Reduce = "log"       // their logarithms; after a prefix, of the probability of the token that is fed next
	LogSum    Reduce = "logsum"    // the sum of these over the rows
	L2        Reduce = "l2"        // the norm of each row
	LogSumExp Reduce = "logsumexp" // of each row
	NLL       Reduce = "nll"       // the mean, over the rows that Index has, of logsumexp less the element at Index
	Top       Reduce = "top"       // the indices of the largest elements, in order
	AbsMax    Reduce = "absmax"    // the index of the element of largest magnitude

	Tokens Reduce = "tokens" // the tokens fed and generated
	Text   Reduce = "text"   // the same as a text

	SHA256  Reduce = "sha256"  // of the file
	Bytes   Reduce = "bytes"   // the size of the file
	Commit  Reduce = "commit"  // of the weights on the Hugging Face hub
	Moments Reduce = "moments" // sum, sum of squares, minimum and maximum of a weight
)

// OfWeights reports whether the figure is of the weights as they are stored.
func (r Reduce) OfWeights() bool {
	return r == SHA256 || r == Bytes || r == Commit || r == Moments
}

// OfText reports whether the figure is of a generated text.
func (r Reduce) OfText() bool { return r == Tokens || r == Text }

// Indices reports whether Want has indices of elements.
func (r Reduce) Indices() bool { return r == Top || r == AbsMax }

// Exact reports whether nothing but Want itself will do.
func (f *Figure) Exact() bool {
	return f.Reduce.OfText() || f.Reduce.OfWeights() && f.Reduce != Moments || f.Stage == "next_token"
}

// A Tolerance allows |got-want| <= Abs + Rel*Scale, or Abs + Rel*|want| if Scale is 0. Of
// indices it is the distance up to which two elements may change places.
type Tolerance struct {
	Abs    float64 `json:"abs"`
	Rel    float64 `json:"rel"`
	Scale  float64 `json:"scale"` // the largest magnitude that is known of the tensor
	Reason string  `json:"reason"`
}

// Allowed returns how far a value may be from want.
func (t Tolerance) Allowed(want float64) float64 {
	if t.Scale > 0 {
		want = t.Scale
	}
	return t.Abs + t.Rel*max(want, -want)
}
