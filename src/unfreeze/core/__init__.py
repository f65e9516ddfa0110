"""What every stage uses: console, files, tables, arrays, params, paths, draws."""
