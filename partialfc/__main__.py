from partialfc.cli import main

main()
