"""How a material is stored for the compiled kernels: one row of numbers, and the patterns it can name."""

from __future__ import annotations

# Columns of a material row.
PATTERN = 0
FIRST, SECOND, THIRD = 1, 4, 7  # linear colours, three columns each
SCALE = 10  # pattern units per metre
CONTRAST = 11
P0, P1, P2 = 12, 13, 14  # each pattern's own parameters
PHOTO_SLOT = 15
BUMP, BUMP_SCALE = 16, 17
SPECULAR, GLOSS = 18, 19
EMISSION = 20
REFLECT = 21  # mirror reflection at normal incidence, 0..1
TRANSLUCENT = 22  # share of light from behind that shines through
DIRT, DIRT_SCALE = 23, 24
ROTATION = 25  # of the pattern in its plane, radians
SHIFT = 26  # of the pattern, three columns
COLUMNS = 29

# Patterns. FIRST, SECOND and THIRD are colours; P0, P1, P2 as told.
PLAIN = 0  # FIRST with faint noise
NOISE = 1  # FIRST to SECOND; P0 gain per octave
TILES = 2  # FIRST, SECOND, joints THIRD; P0 1 = chequered, P1 joint width
STRIPES = 3  # FIRST and SECOND; P0 duty, P1 wobble, P2 strength of thin lines in THIRD
BRICKS = 4  # FIRST to SECOND, mortar THIRD
WOOD = 5  # FIRST to SECOND along planks, gaps THIRD; P0 difference of planks, P1 gaps, P2 rings
PHOTO = 6  # a crop of a photo, tinted FIRST
FACADE = 7  # walls FIRST, glass SECOND, frames THIRD; P0, P1 share of wall across and up, P2 style
CELLS = 8  # FIRST to SECOND per cell, borders THIRD; P1 strength of borders
LABEL = 9  # packaging, posters, pages: coloured fields with lines of text; P0 seed, P1 lines, P2 share of FIRST
ROAD = 10  # FIRST asphalt; P0 half width, P1 kind of markings 0..1, P2 period of dashes
GRASS = 11  # FIRST to SECOND, patches of THIRD; P0 patchiness
PANELS = 12  # FIRST and SECOND panels, gaps THIRD; P0 panels' height over width
VIEW = 13  # what a window shows: sky FIRST over horizon SECOND over ground THIRD; P0 height of the horizon
