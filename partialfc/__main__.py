from partialfc.cli.app import main

main()
