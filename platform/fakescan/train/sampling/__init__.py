"""What is shown to the model beside the records as they are: changed images, and classes in other shares."""
