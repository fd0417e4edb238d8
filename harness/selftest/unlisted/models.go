package unlisted

import (
	"fmt"
	"math/rand/v2"

	"checkpoint12/model"
	"checkpoint12/model/synthetic"
)

// Shapes are the models in which faults are planted: of shapes that no two sizes of divide
// each other by habit, and one with an epsilon that is seen.
var Shapes = []model.Config{
	{Vocab: 211, Positions: 64, Embd: 60, Layers: 3, Heads: 5, Inner: 240, Eps: 1e-5},
	{Vocab: 307, Positions: 56, Embd: 96, Layers: 2, Heads: 4, Inner: 200, Eps: 1e-5},
	{Vocab: 499, Positions: 48, Embd: 40, Layers: 4, Heads: 2, Inner: 160, Eps: 1e-3},
}

// nameOf returns a model's name, its shape.
func nameOf(c model.Config) string {
	return fmt.Sprintf("L%d C%d H%d F%d V%d", c.Layers, c.Embd, c.Heads, c.Inner, c.Vocab)
}

// open makes the model of a shape.
func open(c model.Config) (*model.Model, error) { return synthetic.Random(nameOf(c), c, 12) }

// A run is a prompt of 6 tokens and 4 steps, of which 3 are fed a token more.
const (
	prompt = 6
	steps  = 4
)

// tokens draws what is fed to rows of a batch. One id of the prompt is there twice.
func tokens(c model.Config, batch int) [][]int {
	rng := rand.New(rand.NewPCG(5, uint64(c.Vocab)))
	var rows [][]int
	for range batch {
		row := make([]int, prompt+steps-1)
		for i := range row {
			row[i] = rng.IntN(c.Vocab)
		}
		row[4] = row[1]
		rows = append(rows, row)
	}
	return rows
}

// repeated returns the id that is twice in the prompt of the first row.
func repeated(c model.Config) int { return tokens(c, 1)[0][1] }
